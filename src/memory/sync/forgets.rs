//! Which records of the store the entries of a call would delete.
//!
//! A record is forgotten under each of its ids and by its words, wherever in the call the entry stands that says so. So the
//! search follows the ids of the entries and of the store's records until it finds no more.

use std::collections::BTreeSet;

use rusqlite::Connection;
use uuid::Uuid;

use crate::memory::store::{aliases, forgotten, records};
use crate::memory::sync::entry::{SyncEntry, SyncedRecord};
use crate::memory::sync::merge::find_all;
use crate::sort;

/// Returns the records.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn forgotten_by<'e>(
    connection: &Connection,
    entries: impl Iterator<Item = &'e SyncEntry>,
) -> Result<BTreeSet<i64>, rusqlite::Error> {
    let (mut given, mut ids) = (Vec::<&SyncedRecord>::new(), Vec::new());
    for entry in entries {
        match entry {
            SyncEntry::Record(record) => given.push(record),
            SyncEntry::Forgotten { id, .. } => ids.push(*id),
            _ => {}
        }
    }
    let mut search = Search { connection, seqs: BTreeSet::new(), ids };
    if forgotten::has_any(connection)? {
        for record in &given {
            if is_forgotten(connection, record)? {
                search.ids.extend(&record.ids);
            }
        }
    }
    if search.ids.is_empty() {
        return Ok(search.seqs);
    }
    let mut by_id: Vec<(Uuid, usize)> =
        given.iter().enumerate().flat_map(|(at, record)| record.ids.iter().map(move |id| (*id, at))).collect();
    sort::sort_by_key(&mut by_id, |(id, _)| *id);
    let mut is_taken = vec![false; given.len()];
    while let Some(id) = search.ids.pop() {
        if let Some(seq) = records::find_seq(connection, id)? {
            search.take(seq)?;
        }
        let first = by_id.partition_point(|(other, _)| *other < id);
        for (_, at) in by_id[first..].iter().take_while(|(other, _)| *other == id) {
            if std::mem::replace(&mut is_taken[*at], true) {
                continue;
            }
            search.ids.extend(&given[*at].ids);
            let mut said = BTreeSet::new();
            find_all(connection, given[*at], &mut said)?;
            said.into_iter().try_for_each(|seq| search.take(seq))?;
        }
    }
    Ok(search.seqs)
}

fn is_forgotten(connection: &Connection, record: &SyncedRecord) -> Result<bool, rusqlite::Error> {
    for id in &record.ids {
        if forgotten::forgotten_at(connection, *id)?.is_some() {
            return Ok(true);
        }
    }
    for number in &record.repetitions {
        if forgotten::is_forgotten_record(connection, record.new.said(), *number)? {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Search<'c> {
    connection: &'c Connection,
    seqs: BTreeSet<i64>,
    /// Forgotten ids that are still to be followed.
    ids: Vec<Uuid>,
}

impl Search<'_> {
    fn take(&mut self, seq: i64) -> Result<(), rusqlite::Error> {
        if self.seqs.insert(seq) {
            self.ids.push(records::id_of(self.connection, seq)?);
            self.ids.extend(aliases::of(self.connection, seq)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::memory::test_support::Bench;

    #[test]
    fn what_a_call_forgets_is_counted_wherever_its_entries_stand() {
        let id = |n: u8| format!("{n:032x}");
        let gone = |n: u8| json!({"kind": "forgotten", "id": id(n), "at": 5});
        let said = |ids: &[u8], text: &str| {
            let ids: Vec<String> = ids.iter().map(|n| id(*n)).collect();
            json!({"kind": "record", "ids": ids, "ts": 7, "session": "s", "text": text})
        };
        let stored = [said(&[10], "one"), said(&[20], "two"), said(&[30, 31], "three")];
        let cases: [(&str, Vec<Value>, u64); 9] = [
            ("of nothing", vec![gone(1), said(&[2], "four")], 0),
            ("by its id", vec![gone(10)], 1),
            ("by an alias", vec![gone(31), gone(30)], 1),
            ("under an id that comes with it", vec![gone(1), said(&[1, 10], "one")], 1),
            ("under an id that came with it", vec![said(&[1, 10], "one"), gone(1)], 1),
            ("by its words", vec![gone(1), said(&[1], "one")], 1),
            ("by a chain", vec![said(&[2, 20], "two"), said(&[1, 2], "two"), gone(1)], 1),
            ("by a chain over a record here", vec![said(&[1, 31], "three"), gone(1), gone(20)], 2),
            ("of none of these words", vec![gone(1), said(&[1], "five"), said(&[10], "one")], 0),
        ];
        for (case, entries, want) in cases {
            let bench = Bench::new();
            bench.ok("sync_apply", json!({"peer": null, "entries": stored}));
            let call = |more: Value| {
                let mut params = json!({"peer": null, "entries": entries});
                params.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
                bench.ok("sync_apply", params)["forgotten"].as_u64().unwrap()
            };
            assert_eq!(call(json!({"dry_run": true})), want, "{case}");
            assert_eq!(call(json!({"confirmed": true})), want, "{case}, and it is");
            assert_eq!(call(json!({"dry_run": true})), 0, "{case}, once");
        }
    }

    #[test]
    fn words_that_were_forgotten_here_are_counted_under_another_id() {
        let bench = Bench::new();
        let said =
            |n: u8| json!({"kind": "record", "ids": [format!("{n:032x}")], "ts": 7, "session": "s", "text": "one"});
        bench.ok("sync_apply", json!({"peer": null, "entries": [said(1)]}));
        let gone = json!({"kind": "forgotten", "id": format!("{:032x}", 1), "at": 5});
        bench.ok("sync_apply", json!({"peer": null, "confirmed": true, "entries": [gone]}));
        // The store has the words again, as their second repetition; another one has both as one record.
        bench.ok("memory_capture", json!({"text": "one", "session_id": "s"}));
        let mut both = said(9);
        both["repetitions"] = json!([0, 1]);
        let reply = bench.ok("sync_apply", json!({"peer": null, "dry_run": true, "entries": [both]}));
        assert_eq!(reply["forgotten"], 1);
    }
}
