//! `memory_reinforce`: strengthens the links among records, for each pair of them.

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::time::UnixMicros;
use crate::memory::params;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;
use crate::sort;

/// Most records in a call: 2016 pairs, some 10 ms of writing.
const MAX_RECORDS: usize = 64;

/// The weight that a call adds to each pair, in thousandths.
const WEIGHT_STEP_MILLI: i64 = 100;

/// Answers `memory_reinforce`: at once if a param is invalid or there is no pair, else after the commit.
pub(crate) fn reinforce(
    reader: Result<&Reader, CallError>,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
    reply: Reply<'_>,
) {
    match read(reader, params) {
        Ok(records) if records.len() < 2 => reply.send(Ok(json!({"edges_boosted": 0, "new_weights": {}}))),
        Ok(records) => {
            let (reply, weight) = (reply.later(), records.len() * size_of::<(Uuid, i64)>());
            let work = task(
                weight,
                move |transaction| Ok(strengthen(transaction.connection, &records, now)?),
                |outcome| reply.send(outcome),
            );
            writer.submit(work);
        }
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// Returns the id and the seq of each record, sorted by id.
fn read(reader: Result<&Reader, CallError>, params: &Params<'_>) -> Result<Vec<(String, i64)>, CallError> {
    let ids = params::ids(params, "ids", MAX_RECORDS)?;
    let snapshot = reader?.snapshot()?;
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let seq = records::seq_of(snapshot.connection(), "ids", id)?;
        // Two ids may be of one record.
        if records.iter().all(|(_, other)| *other != seq) {
            records.push((id.to_string(), seq));
        }
    }
    sort::sort_by(&mut records, Ord::cmp);
    Ok(records)
}

fn strengthen(connection: &Connection, records: &[(String, i64)], now: UnixMicros) -> Result<Value, rusqlite::Error> {
    let mut weights = Map::new();
    for (i, (id, seq)) in records.iter().enumerate() {
        for (other_id, other) in &records[i + 1..] {
            let weight = links::strengthen(connection, (*seq, *other), LinkKind::Reinforced, WEIGHT_STEP_MILLI, now)?;
            weights.insert(format!("{id}|{other_id}"), json!(weight as f64 / links::STRONGEST as f64));
        }
    }
    Ok(json!({"edges_boosted": weights.len(), "new_weights": weights}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;

    #[test]
    fn a_call_adds_a_tenth_to_each_pair_up_to_one() {
        let bench = Bench::new();
        let mut ids = ["a first text to bind", "a second text to bind", "a third text to bind"]
            .map(|text| bench.capture(text, json!({})));
        let got = bench.ok("memory_reinforce", json!({"ids": [ids[2], ids[0], ids[2]]}));
        ids[0..3].sort_unstable();
        assert_eq!(got["edges_boosted"], 1);
        let got = bench.ok("memory_reinforce", json!({ "ids": ids }));
        assert_eq!(got["edges_boosted"], 3);
        let weights = got["new_weights"].as_object().unwrap();
        let pair = |i: usize, j: usize| weights[&format!("{}|{}", ids[i], ids[j])].as_f64().unwrap();
        let mut all = [pair(0, 1), pair(0, 2), pair(1, 2)];
        all.sort_unstable_by(f64::total_cmp);
        assert_eq!(all, [0.1, 0.1, 0.2]);
        for _ in 0..12 {
            bench.ok("memory_reinforce", json!({ "ids": ids }));
        }
        let got = bench.ok("memory_reinforce", json!({"ids": [ids[1], ids[0]]}));
        assert_eq!(got["new_weights"], json!({format!("{}|{}", ids[0], ids[1]): 1.0}));
    }

    #[test]
    fn fewer_than_two_records_have_no_pair() {
        let bench = Bench::new();
        let id = bench.capture("a text that stands alone", json!({}));
        for ids in [json!([]), json!([id]), json!([id, id])] {
            let got = bench.ok("memory_reinforce", json!({"ids": ids}));
            assert_eq!(got, json!({"edges_boosted": 0, "new_weights": {}}), "{ids}");
        }
    }

    #[test]
    fn an_unknown_id_is_named_and_no_link_is_added() {
        let bench = Bench::new();
        let id = bench.capture("a text that stands alone", json!({}));
        let other = bench.capture("another text beside it", json!({}));
        let unknown = Uuid::from_u128(7);
        let error = bench.err("memory_reinforce", json!({"ids": [id, other, unknown.to_string()]}));
        assert_eq!(error.message, format!("param 'ids' must be the id of a record: no record has the id {unknown}"));
        assert_eq!(error.code, crate::dispatch::code::INVALID_PARAMS);
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM link WHERE ?1", 1), 0);
        assert_eq!(bench.err("memory_reinforce", json!({})).message, "missing required param: 'ids'");
        let many: Vec<_> = (0..65).map(|n| Uuid::from_u128(n).to_string()).collect();
        let error = bench.err("memory_reinforce", json!({ "ids": many }));
        assert_eq!(error.message, "param 'ids' must be at most 64 ids: it has 65; send fewer");
    }
}
