//! The size of the indexes on disk: after a consolidation at most one and a half times the records' text.
//!
//! `RECORDS=100000 cargo test --release --test it sizes -- --nocapture` measures a large store, whose consolidation
//! takes minutes.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::harness::{Client, PATIENCE, setup, until_within};

const PAGE_BYTES: f64 = 4096.0;

/// The number of different words. By Zipf's law the nth word occurs once for each n times of the first.
const WORD_COUNT: usize = 40_000;

const RECORDS_PER_SESSION: usize = 40;

/// Waited for the consolidation of each record, beside [`PATIENCE`].
const CONSOLIDATION_PER_RECORD: Duration = Duration::from_millis(100);

/// Pseudo-random numbers that are the same in every run (xorshift, after Marsaglia, 2003).
struct Random(u64);

impl Random {
    /// Returns a number from 0 to `bound - 1`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Returns the nth most frequent word. Words are made of syllables, frequent ones are short.
fn word(mut n: usize) -> String {
    const SYLLABLES: [&str; 12] = ["ba", "co", "di", "fer", "gu", "ha", "kin", "lo", "mu", "nes", "pra", "to"];
    let mut word = String::new();
    n += SYLLABLES.len();
    while n > 0 {
        word.push_str(SYLLABLES[n % SYLLABLES.len()]);
        n /= SYLLABLES.len();
    }
    word
}

fn fill(client: &mut Client, records: usize) {
    let words: Vec<String> = (0..WORD_COUNT).map(word).collect();
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=WORD_COUNT)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut random = Random(7);
    let mut text = || {
        let said = (0..8 + random.below(38)).map(|_| {
            let at = random.below(1 << 40) as f64 / (1_u64 << 40) as f64 * sum;
            words[sums.partition_point(|sum| *sum < at).min(WORD_COUNT - 1)].as_str()
        });
        said.collect::<Vec<_>>().join(" ")
    };
    for from in (0..records).step_by(64) {
        let some = from..(from + 64).min(records);
        let mut lines = String::new();
        for n in some.clone() {
            let params = json!({"text": text(), "session_id": format!("s{}", n / RECORDS_PER_SESSION)});
            let call = json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params});
            writeln!(lines, "{call}").expect("a string");
        }
        client.send(lines);
        some.for_each(|_| assert!(client.line().contains("record_id")));
    }
}

/// Returns the number of pages of each table and index: drops them from the copy one by one and counts the free pages.
fn pages(copy: &Path) -> Vec<(String, f64)> {
    let copy = Connection::open(copy).expect("it opens");
    let number = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, f64>(0)).expect(sql);
    let names = |sql: &str| -> Vec<String> {
        let mut read = copy.prepare(sql).expect(sql);
        read.query_map([], |row| row.get(0)).expect(sql).map(|name| name.expect("a name")).collect()
    };
    copy.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = DELETE").expect("SQL");
    let used = || number("PRAGMA page_count") - number("PRAGMA freelist_count");
    // The index that SQLite makes for UNIQUE cannot be dropped: an equal one is built and measured.
    let before = used();
    copy.execute_batch("CREATE UNIQUE INDEX record_id_again ON record (id)").expect("SQL");
    let ids = used() - before;
    copy.execute_batch("DROP INDEX record_id_again").expect("SQL");
    let mut all = vec![("the ids' index".to_owned(), ids)];
    let indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let tables = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type NOT IN ('shadow', 'view')
                  AND name NOT LIKE 'sqlite_%' ORDER BY name = 'record'";
    for (kind, names) in [("INDEX", names(indexes)), ("TABLE", names(tables))] {
        for name in names {
            let before = used();
            copy.execute_batch(&format!("DROP {kind} {name}")).expect("it can be dropped");
            all.push((name, before - used()));
        }
    }
    if let Some(record) = all.iter_mut().find(|(name, _)| name == "record") {
        record.1 -= ids;
    }
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

#[test]
fn indexes_take_at_most_one_and_a_half_times_the_text() {
    let records = std::env::var("RECORDS").ok().and_then(|records| records.parse().ok()).unwrap_or(1500);
    let daemon = setup();
    let mut client = daemon.client();
    fill(&mut client, records);
    // It may take longer than a client waits for a reply: an event says when it has ended.
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "memory_consolidate", "params": {}});
    client.send(format!("{call}\n"));
    let limit = PATIENCE + CONSOLIDATION_PER_RECORD * u32::try_from(records).expect("a number of records");
    let mut asking = daemon.client();
    until_within(limit, "the consolidation has ended", || {
        asking.call("events_query", json!({"kind": "cls_consolidation_run"}))["count"] != 0
    });
    let copy = daemon.setup().home().join("copy.db");
    daemon.client().call("store_backup", json!({"path": copy}));
    // Each table and index has a page even if it is empty; those are not counted.
    let empty = daemon.setup().home().join("empty.db");
    setup().client().call("store_backup", json!({"path": empty}));
    let empty: HashMap<String, f64> = pages(&empty).into_iter().collect();
    let text: f64 = Connection::open(&copy)
        .and_then(|copy| {
            let sql = "SELECT sum(length(CAST(text AS BLOB)) + length(CAST(cue AS BLOB))) FROM record";
            copy.query_row(sql, [], |row| row.get(0))
        })
        .expect("a sum");
    let share = |pages: f64| pages * PAGE_BYTES / text;
    let mut all = pages(&copy);
    all.iter_mut().for_each(|(name, pages)| *pages -= empty.get(name).copied().unwrap_or(0.0));
    for (name, pages) in &all {
        println!("{name:20} {:9.0} KiB, {:.3} of the text", pages * PAGE_BYTES / 1024.0, share(*pages));
    }
    let of = |wanted: &str| share(all.iter().find(|(name, _)| name == wanted).expect("it is there").1);
    let sum = |left_out: &[&str]| -> f64 {
        all.iter().filter(|(name, _)| !left_out.contains(&name.as_str())).map(|(_, pages)| share(*pages)).sum()
    };
    // The other tables that a consolidation or a session fills are no indexes.
    let indexes = sum(&["record", "link", "node", "community", "tag", "event", "wake", "session", "project"]);
    println!("{records} records, {:.1} MB of text", text / 1e6);
    println!("indexes: {indexes:.3} of the text; everything but the records: {:.3} of the text", sum(&["record"]));
    assert!(indexes <= 1.5, "{indexes}");
    assert!(of("term_index") <= 0.6, "{}", of("term_index"));
    // In a small store most words are repeated, in a large one they are not: at 100 000 records it is a twentieth.
    assert!(of("companion") <= 0.4, "{}", of("companion"));
    assert!(of("link") > 0.0 && of("companion") > 0.0, "the consolidation has made links");
}
