//! `sync_apply`: merges what another store gives (`sync/apply.rs`).

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::forgetting::job;
use crate::memory::forgetting::phase::ForgettingPhase;
use crate::memory::service::{Memory, Worker};
use crate::memory::sync::apply::{Apply, ApplyRequest};

/// Answers `sync_apply`: at once if a param is invalid or the call only counts, else after the commit.
pub(crate) fn sync_apply(memory: &Memory, worker: &mut Worker, params: &Params<'_>, reply: Reply<'_>) {
    let request = match ApplyRequest::read(params) {
        Ok(request) if request.is_dry_run => return reply.send(worker.read(|reader| request.count(reader))),
        Ok(request) => request,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let need = match LockNeed::of(&request, worker) {
        Ok(need) => need,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let (forgetting, profiles, now, reply) =
        (memory.forgetting(), memory.profiles.clone(), memory.now(), reply.later());
    match need {
        LockNeed::NoLock => Apply::start(request, forgetting, profiles, None, now, reply),
        LockNeed::LockAfter(interrupted) => {
            let run = forgetting.clone();
            forgetting.acquire_after(interrupted, move |lock| match lock {
                Ok(lock) => Apply::start(request, run, profiles, lock, now, reply),
                Err(error) => reply.send::<()>(Err(error)),
            });
        }
    }
}

/// Whether a call needs the maintenance lock.
enum LockNeed {
    /// It deletes no records.
    NoLock,
    /// It deletes records. The phase is that of an earlier forgetting that was interrupted.
    LockAfter(Option<ForgettingPhase>),
}

impl LockNeed {
    fn of(request: &ApplyRequest, worker: &mut Worker) -> Result<LockNeed, CallError> {
        match worker.read(|reader| request.check_forgets(reader))? {
            true => worker.read(|reader| Ok(job::pending(reader.snapshot()?.connection())?)).map(LockNeed::LockAfter),
            false => Ok(LockNeed::NoLock),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Random histories of several stores that exchange their entries in random ways: at the end all have the same.
    //!
    //! Each test runs with fixed seeds and a random one; `SYNC_ROUNDS` sets how many, `CI_FULL` ten times as many. A failure
    //! names its seed, which `SYNC_SEED` repeats alone.

    use std::cell::Cell;
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use crate::dispatch::{CallError, Runner};
    use crate::memory::model::time::UnixMicros;
    use crate::memory::service::{Memory, Worker};
    use crate::memory::test_support::{Bench, call_on};

    const STORES: usize = 3;
    const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

    thread_local! {
        /// Steps since the beginning of the test, as microseconds.
        static STEPS: Cell<i64> = const { Cell::new(0) };
    }

    fn step() -> UnixMicros {
        STEPS.set(STEPS.get() + 1);
        UnixMicros(Bench::NOW.0 + STEPS.get())
    }

    /// The clocks of the stores differ by a day.
    const CLOCKS: [fn() -> UnixMicros; STORES] =
        [step, || UnixMicros(step().0 + DAY_MICROS), || UnixMicros(step().0 - DAY_MICROS)];

    /// Pseudorandom numbers: SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut n = self.0;
            n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ n >> 31
        }

        fn below(&mut self, count: usize) -> usize {
            (self.next() % count as u64) as usize
        }

        fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
            &of[self.below(of.len())]
        }
    }

    /// A store with the state that a client keeps.
    struct Peer {
        bench: Bench,
        runner: Runner<Worker>,
        id: String,
        /// Where it is in the log of each other store.
        received: BTreeMap<usize, Value>,
    }

    impl Peer {
        fn new(clock: fn() -> UnixMicros) -> Peer {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::open_with(folder.path(), clock).unwrap();
            Peer::of(Bench { memory, folder })
        }

        fn of(bench: Bench) -> Peer {
            let id = bench.ok("sync_peers", json!({}))["store"].as_str().unwrap().to_owned();
            Peer { bench, runner: Runner::default(), id, received: BTreeMap::new() }
        }

        fn call(&mut self, method: &str, params: &Value) -> Result<Value, CallError> {
            call_on(&self.bench.memory, &mut self.runner, method, Some(&params.to_string()))
        }

        fn ok(&mut self, method: &str, params: Value) -> Value {
            self.call(method, &params).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
        }

        fn rows(&self, sql: &str) -> Vec<String> {
            let connection = self.bench.connection();
            let mut rows = connection.prepare(sql).unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        }

        /// Returns all ids: of records, aliases and forgotten ones.
        fn ids(&self) -> Vec<String> {
            self.rows(
                "SELECT lower(hex(id)) FROM record UNION ALL SELECT lower(hex(id)) FROM record_alias
                 UNION ALL SELECT lower(hex(id)) FROM forgotten ORDER BY 1",
            )
        }

        /// Returns what all stores have in common once they have exchanged everything.
        fn state(&self) -> Vec<String> {
            let mut all = self.rows(
                "SELECT hex(record.id) || ' ' || text || ' ' || role || ' ' || session.name || ' ' || project.name || ' ' || ts
                     || ' ended ' || coalesce(valid_to, '-') || ' said before '
                     || coalesce((SELECT number FROM repetition WHERE record = seq), 0)
                     || ' aliases ' || coalesce((SELECT group_concat(hex(id)) FROM
                            (SELECT id FROM record_alias WHERE record = seq ORDER BY id)), '-')
                     || ' tags ' || coalesce((SELECT group_concat(name) FROM
                            (SELECT name FROM tag WHERE record = seq ORDER BY name)), '-')
                 FROM record JOIN session ON session.number = session JOIN project ON project.number = project
                 ORDER BY record.id",
            );
            all.extend(self.rows(
                "SELECT 'link ' || kind || ' ' || hex(iif(kind = 2, one.id, min(one.id, other.id))) || ' '
                     || hex(iif(kind = 2, other.id, max(one.id, other.id))) || ' ' || weight || ' ' || used
                 FROM link JOIN record AS one ON one.seq = a JOIN record AS other ON other.seq = b WHERE kind IN (1, 2)
                 ORDER BY 1",
            ));
            all.extend(self.rows(
                "SELECT DISTINCT 'forgotten ' || hex(id) FROM
                 (SELECT id FROM forgotten UNION SELECT id FROM forgotten_id) ORDER BY 1",
            ));
            all.extend(self.rows("SELECT 'knob ' || knob || ' ' || value FROM profile ORDER BY 1"));
            all
        }

        /// Checks what holds in every store at any time.
        fn check(&self, seed: u64) {
            let check = self.bench.ok("store_check", json!({}));
            assert_eq!(check["problems"], json!([]), "seed {seed}");
            for (what, sql) in [
                ("an origin", "SELECT peer || '' FROM change_origin WHERE peer <> 0"),
                ("a merge", "SELECT record || '' FROM record_merge"),
                ("a change", "SELECT number || '' FROM change WHERE kind = 0 AND a NOT IN (SELECT seq FROM record)"),
                (
                    "an ended record",
                    "SELECT seq || '' FROM record WHERE (valid_to IS NOT NULL)
                         <> EXISTS (SELECT 1 FROM ended_record WHERE record = seq AND ended_record.hash = record.hash)",
                ),
                ("a forgotten record", "SELECT hex(id) FROM record WHERE id IN (SELECT id FROM forgotten_id)"),
            ] {
                assert_eq!(self.rows(sql), Vec::<String>::new(), "seed {seed}: {what} is left");
            }
        }
    }

    const TEXTS: [&str; 4] = ["the tea is green", "the gate is open", "yes", "the tea is  green"];
    const SESSIONS: [&str; 2] = ["s", "t"];
    const ROLES: [&str; 2] = ["user", "assistant"];
    const PROJECTS: [&str; 3] = ["", "/a", "/b"];

    /// Does something at random in a store.
    fn act(peer: &mut Peer, random: &mut Random) {
        let ids = peer.ids();
        let text = *random.one(&TEXTS);
        let (session, role) = (*random.one(&SESSIONS), *random.one(&ROLES));
        let capture = json!({"text": text, "session_id": session, "role": role, "project": random.one(&PROJECTS)});
        match random.below(13) {
            0..=4 => drop(peer.ok("memory_capture", capture)),
            5 | 6 if !ids.is_empty() => {
                // A forgotten id is refused.
                let _refused = peer.call("memory_contradict", &json!({"id": random.one(&ids), "new_fact": text}));
            }
            7 if ids.len() > 1 => {
                let _refused = peer.call("memory_reinforce", &json!({"ids": [random.one(&ids), random.one(&ids)]}));
            }
            8 => {
                let value = *random.one(&[0.1, 0.2, 0.3]);
                peer.ok("profile_set", json!({"knob": "interest_boost", "value": value}));
            }
            9 if !ids.is_empty() => {
                let id: &String = random.one(&ids);
                forget(peer, id);
            }
            10 => {
                // A line of a transcript that several machines have: its id is derived from the text.
                let row = json!({"kind": "record", "text": text, "session_id": "transcript", "role": role,
                                 "ts": format!("2024-05-0{}T10:00:00Z", 1 + random.below(3)),
                                 "turn": {"assistant": "codex"}});
                peer.ok("store_import", json!({"rows": [row]}));
            }
            11 if !ids.is_empty() => {
                let row = json!({"kind": "tag", "record": random.one(&ids), "name": random.one(&["one", "two"])});
                peer.ok("store_import", json!({"rows": [row]}));
            }
            12 => {
                // A row of an export that several machines have, with its own id, and once with its end.
                let id = uuid::Uuid::from_u128(1 + random.below(2) as u128);
                let ts = format!("2024-05-0{}T10:00:00Z", 1 + random.below(3));
                let mut row = json!({"kind": "record", "id": id.to_string(), "text": TEXTS[0], "session_id": "s", "ts": ts,
                                     "project": random.one(&PROJECTS)});
                if random.below(3) == 0 {
                    row["valid_to"] = ts.into();
                }
                peer.ok("store_import", json!({"rows": [row]}));
            }
            _ => {}
        }
    }

    fn forget(peer: &mut Peer, id: &str) {
        if let Ok(proposed) = peer.call("memory_forget", &json!({"ids": [id]})) {
            peer.ok("memory_forget", json!({"token": proposed["token"]}));
        }
    }

    /// Pages that were given once, and may come again at any time.
    type Delayed = Vec<(usize, Value)>;

    /// Gives the entries of one store to another. Returns how many there were.
    fn give(peers: &mut [Peer], from: usize, to: usize, since: Value, delayed: &mut Delayed) -> usize {
        let (mut since, mut count) = (since, 0);
        loop {
            let (giver, taker) = (peers[from].id.clone(), peers[to].id.clone());
            let page = peers[from].ok("sync_changes", json!({"since": since, "peer": taker, "max_bytes": 65536}));
            count += page["entries"].as_array().unwrap().len();
            let call = json!({"peer": giver, "entries": page["entries"], "confirmed": true});
            let applied = peers[to].ok("sync_apply", call.clone());
            assert_eq!(applied["refused"], json!([]), "{call}");
            delayed.push((to, call));
            since = page["next"].clone();
            peers[to].received.insert(from, since.clone());
            if page["done"] == json!(true) {
                return count;
            }
        }
    }

    /// Exchanges entries between all stores until none has anything to give.
    fn exchange_all(peers: &mut [Peer], order: &[(usize, usize)], delayed: &mut Delayed, seed: u64) {
        for _ in 0..8 {
            let mut count = 0;
            for &(from, to) in order {
                let since = peers[to].received.get(&from).cloned().unwrap_or_default();
                count += give(peers, from, to, since, delayed);
            }
            if count == 0 {
                return;
            }
        }
        panic!("seed {seed}: the stores give each other entries for ever");
    }

    /// Returns the seeds of a test: fixed ones and one that no run has had.
    fn seeds(count: u64) -> Vec<u64> {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        if let Some(seed) = number("SYNC_SEED") {
            return vec![seed];
        }
        let random = crate::memory::store::records::new_id().as_u128() as u64;
        let usual = if std::env::var_os("CI_FULL").is_some() { 10 * count } else { count };
        (0..number("SYNC_ROUNDS").unwrap_or(usual)).chain([random]).collect()
    }

    fn assert_equal(peers: &[Peer], seed: u64) {
        let first = peers[0].state();
        for peer in peers {
            peer.check(seed);
            assert_eq!(peer.state(), first, "seed {seed}");
        }
    }

    const PAIRS: [(usize, usize); 6] = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];

    #[test]
    fn stores_that_have_exchanged_everything_have_the_same() {
        let mut seen = BTreeMap::new();
        for seed in seeds(5) {
            let mut random = Random(seed);
            let mut peers: Vec<Peer> = CLOCKS.into_iter().map(Peer::new).collect();
            let mut delayed = Delayed::new();
            for _ in 0..40 {
                match random.below(8) {
                    0 | 1 => {
                        let (from, to) = *random.one(&PAIRS);
                        let since = peers[to].received.get(&from).cloned().unwrap_or_default();
                        // Now and then all over again.
                        let since = if random.below(4) == 0 { Value::Null } else { since };
                        give(&mut peers, from, to, since, &mut delayed);
                    }
                    2 if !delayed.is_empty() => {
                        let (to, call) = random.one(&delayed).clone();
                        peers[to].ok("sync_apply", call);
                    }
                    _ => {
                        let at = random.below(STORES);
                        act(&mut peers[at], &mut random);
                    }
                }
            }
            exchange_all(&mut peers, &PAIRS, &mut delayed, seed);
            assert_equal(&peers, seed);
            // What comes again changes nothing.
            let before = peers[0].state();
            for (to, call) in delayed {
                peers[to].ok("sync_apply", call);
            }
            exchange_all(&mut peers, &PAIRS, &mut Delayed::new(), seed);
            assert_equal(&peers, seed);
            assert_eq!(peers[0].state(), before, "seed {seed}");
            for table in
                ["record_alias", "absorbed_record", "ended_record", "forgotten_id", "forgotten", "knob_change", "link"]
            {
                let count = peers.iter().map(|peer| peer.rows(&format!("SELECT '' FROM {table}")).len()).sum::<usize>();
                *seen.entry(table).or_insert(0) += count;
            }
        }
        // The histories have had what they are to have.
        if std::env::var_os("SYNC_SEED").is_none() {
            assert!(seen.values().all(|count| *count > 0), "{seen:?}");
        }
    }

    #[test]
    fn the_order_of_exchanges_does_not_matter() {
        for seed in seeds(2) {
            let mut random = Random(seed ^ 0xabcd);
            let mut peers: Vec<Peer> = CLOCKS.into_iter().map(Peer::new).collect();
            for _ in 0..30 {
                let at = random.below(STORES);
                act(&mut peers[at], &mut random);
            }
            let mut states = Vec::new();
            for _ in 0..2 {
                let mut copies: Vec<Peer> =
                    peers.iter_mut().zip(CLOCKS).map(|(peer, clock)| copy(peer, clock)).collect();
                let mut order: Vec<_> = PAIRS.to_vec();
                for at in (1..order.len()).rev() {
                    order.swap(at, random.below(at + 1));
                }
                exchange_all(&mut copies, &order, &mut Delayed::new(), seed);
                assert_equal(&copies, seed);
                // Which of two concurrent changes of a knob counts as later depends on the clocks of those that they met.
                states.push(copies[0].state().into_iter().filter(|line| !line.starts_with("knob")).collect::<Vec<_>>());
            }
            assert_eq!(states[0], states[1], "seed {seed}");
        }
    }

    /// Returns a copy of a store.
    fn copy(peer: &mut Peer, clock: fn() -> UnixMicros) -> Peer {
        let folder = tempfile::tempdir().unwrap();
        peer.ok("store_backup", json!({"path": folder.path().join("memory.db")}));
        Peer::of(Bench { memory: Memory::open_with(folder.path(), clock).unwrap(), folder })
    }

    /// Gives all that one store has to another, and returns the result of the last call.
    fn give_all(from: &mut Peer, to: &mut Peer, confirmed: bool) -> Result<Value, CallError> {
        let mut since = Value::Null;
        loop {
            let page = from.ok("sync_changes", json!({"since": since, "peer": to.id, "max_bytes": 65536}));
            let call = json!({"peer": from.id, "entries": page["entries"], "confirmed": confirmed});
            let applied = to.call("sync_apply", &call)?;
            since = page["next"].clone();
            if page["done"] == json!(true) {
                return Ok(applied);
            }
        }
    }

    fn two() -> [Peer; 2] {
        [Peer::new(CLOCKS[0]), Peer::new(CLOCKS[0])]
    }

    fn capture(peer: &mut Peer, text: &str) -> String {
        let stored = peer.ok("memory_capture", json!({"text": text, "session_id": "s"}));
        stored["record_id"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_record_with_two_ids_is_found_by_both() {
        let [mut one, mut other] = two();
        let ids = [capture(&mut one, "the tea is green"), capture(&mut other, "the tea is green")];
        let fact = capture(&mut other, "the tea is black");
        give_all(&mut one, &mut other, false).unwrap();
        give_all(&mut other, &mut one, false).unwrap();
        let (shown, alias) = (ids.iter().min().unwrap(), ids.iter().max().unwrap());
        for peer in [&mut one, &mut other] {
            for id in &ids {
                let found = peer.ok("memory_show", json!({"id": id}));
                assert_eq!((&found["record_id"], &found["other_ids"]), (&json!(shown), &json!([alias])));
                assert_eq!(peer.ok("memory_read", json!({"id": id}))["record_id"], json!(shown));
            }
        }
        // Calls with both ids are about one record, and calls with the alias are about the record, in both stores.
        assert_eq!(one.ok("memory_reinforce", json!({"ids": ids}))["edges_boosted"], 0);
        let link = json!({"kind": "link", "from": ids[0], "to": ids[1], "relation": "reinforced", "weight": 5,
                          "used": "2024-05-01"});
        assert_eq!(one.ok("store_import", json!({"rows": [link]}))["known"], 1);
        assert_eq!(one.ok("memory_forget", json!({"ids": ids}))["count"], 1);
        one.ok("memory_reinforce", json!({"ids": [alias, fact]}));
        let newer = one.ok("memory_contradict", json!({"id": alias, "new_fact": "the tea is white"}));
        let export = |peer: &mut Peer| peer.ok("store_export", json!({}));
        let rows = export(&mut one)["rows"].clone();
        let record = rows.as_array().unwrap().iter().find(|row| row["id"] == json!(shown)).unwrap();
        assert_eq!(record["other_ids"], json!([alias]));
        let mut third = Peer::new(CLOCKS[0]);
        assert_eq!(third.ok("store_import", json!({"rows": rows}))["refused"], json!([]));
        assert_eq!(export(&mut third)["rows"], rows);
        assert_eq!(third.ok("store_import", json!({"rows": rows}))["new"], 0);
        give_all(&mut one, &mut other, false).unwrap();
        let found = other.ok("memory_show", json!({"id": alias}));
        assert_eq!(found["replaced_by"][0]["record_id"], newer["new_record_id"]);
        assert!(!found["valid_to"].is_null() && found["links"].as_array().unwrap().len() == 1, "{found}");
        // A row of an earlier export, and one that names only the alias, are known.
        for id in &ids {
            let row = json!({"kind": "record", "id": id, "text": "the tea is green", "session_id": "s"});
            let got = one.ok("store_import", json!({"rows": [row]}));
            assert_eq!((&got["known"], &got["refused"]), (&json!(1), &json!([])), "{got}");
        }
        forget(&mut other, alias);
        assert!(give_all(&mut other, &mut one, false).unwrap_err().message.contains("a tenth"));
        assert_eq!(give_all(&mut other, &mut one, true).unwrap()["forgotten"], 1);
        for id in &ids {
            assert!(one.call("memory_show", &json!({"id": id})).unwrap_err().message.contains("was forgotten"));
        }
    }

    #[test]
    fn many_forgettings_are_confirmed_and_dry_runs_change_nothing() {
        let [mut one, mut other] = two();
        let ids: Vec<String> = (0..40).map(|n| capture(&mut one, &format!("text number {n}"))).collect();
        give_all(&mut one, &mut other, false).unwrap();
        let forgotten = |ids: &[String]| -> Vec<Value> {
            ids.iter().map(|id| json!({"kind": "forgotten", "id": id, "at": 5})).collect()
        };
        let call = |ids: &[String], more: Value| {
            let mut call = json!({"peer": "01".repeat(16), "entries": forgotten(ids)});
            call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            call
        };
        assert_eq!(other.ok("sync_apply", call(&ids[..9], json!({"dry_run": true})))["forgotten"], 9);
        let before = other.state();
        let refused = other.call("sync_apply", &call(&ids[..9], json!({}))).unwrap_err();
        assert!(refused.message.contains("9 of the 40 records"), "{refused}");
        assert_eq!(other.state(), before);
        // Four are a tenth, and the fifth of the same run is more, until the run has ended.
        assert_eq!(other.ok("sync_apply", call(&ids[..4], json!({})))["forgotten"], 4);
        assert!(other.call("sync_apply", &call(&ids[4..5], json!({}))).is_err());
        for peer in ["01", "02"] {
            other.ok("sync_met", json!({"peer": peer.repeat(16), "kind": "host", "name": "far"}));
        }
        let last = other.ok("sync_apply", call(&ids[4..5], json!({})));
        assert_eq!(last["forgotten"], 1);
        assert_eq!(last["left"].to_string().matches("\"far\"").count(), 1, "{last}");
        assert_eq!(other.ok("sync_apply", call(&ids, json!({"confirmed": true})))["forgotten"], 35);
        assert_eq!(other.rows("SELECT count(*) || '' FROM record"), ["0"]);
    }

    #[test]
    fn a_forgetting_that_was_noted_is_finished_at_the_next_start() {
        let Peer { mut bench, .. } = Peer::new(CLOCKS[0]);
        let ids = ["the tea is green", "the tea is black"].map(|text| bench.capture(text, json!({"session_id": "s"})));
        let long = |n: u128| {
            let text = format!("{n} {}", "x".repeat(65000));
            json!({"kind": "record", "ids": [uuid::Uuid::from_u128(n).to_string()], "ts": 1, "text": text})
        };
        let mut entries = vec![json!({"kind": "forgotten", "id": ids[0], "at": 5})];
        entries.extend((1..9).map(long));
        bench.sql(
            "CREATE TRIGGER cut BEFORE INSERT ON record WHEN new.text LIKE '8 %' BEGIN SELECT RAISE(ABORT, 'cut'); END",
        );
        bench.err("sync_apply", json!({"entries": entries, "confirmed": true}));
        bench.sql("DROP TRIGGER cut");
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM forgotten_id WHERE ?1", 1), 1, "noted");
        assert_eq!(
            bench.row::<i64>("SELECT count(*) FROM record WHERE text LIKE 'the tea%' AND ?1", 1),
            2,
            "and not deleted"
        );
        bench.restart_at(CLOCKS[0]);
        let forgetting = bench.memory.forgetting();
        while forgetting.is_pending() {
            std::thread::yield_now();
        }
        assert!(bench.err("memory_show", json!({"id": ids[0]})).message.contains("was forgotten"));
        assert_eq!(bench.ok("memory_show", json!({"id": ids[1]}))["record_id"], json!(ids[1]));
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM forgetting WHERE ?1", 1), 0);
    }

    #[test]
    fn an_earlier_forgetting_that_has_failed_is_finished_by_the_next_call() {
        let Peer { bench, .. } = Peer::new(CLOCKS[0]);
        let ids = ["the tea is green", "the tea is black"].map(|text| bench.capture(text, json!({"session_id": "s"})));
        let call = |id: &str| json!({"entries": [{"kind": "forgotten", "id": id, "at": 5}], "confirmed": true});
        bench.sql("CREATE TRIGGER cut BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'cut'); END");
        assert!(bench.err("sync_apply", call(&ids[0])).message.contains("cut"));
        bench.sql("DROP TRIGGER cut");
        bench.ok("sync_apply", call(&ids[1]));
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM record WHERE ?1", 1), 0);
    }

    #[test]
    fn records_become_one_although_the_index_is_to_be_rebuilt() {
        let Peer { bench, .. } = Peer::new(CLOCKS[0]);
        let id = |n: u128| uuid::Uuid::from_u128(n).to_string();
        let said = |ids: &[u128], repetitions: &[i64]| {
            let ids: Vec<String> = ids.iter().map(|n| id(*n)).collect();
            json!({"kind": "record", "ids": ids, "ts": 1, "session": "s", "text": "the tea is green",
                "repetitions": repetitions})
        };
        bench.ok("sync_apply", json!({"entries": [said(&[1], &[0]), said(&[2], &[1])]}));
        bench.sql("UPDATE meta SET value = 0 WHERE key = 'terms_version'");
        let after = json!({"kind": "record", "ids": [id(3)], "ts": 1, "text": "the tea is black"});
        let got = bench.ok("sync_apply", json!({"entries": [said(&[1, 2], &[0, 1]), 5, after]}));
        assert_eq!((&got["added"], &got["known"], &got["refused"][0]["index"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM record WHERE ?1", 1), 2);
        let found = bench.ok("memory_recall", json!({"cue": "green tea"}));
        assert_eq!(found["hits"][0]["record_id"], json!(id(1)), "{found}");
        assert!(bench.row::<i64>("SELECT value FROM meta WHERE key = 'terms_version' AND ?1", 1) > 0);
    }

    #[test]
    fn entries_that_cannot_be_taken_are_refused_one_by_one() {
        let mut peer = Peer::new(CLOCKS[0]);
        let id = capture(&mut peer, "the tea is green");
        let unknown = uuid::Uuid::from_u128(7).to_string();
        let record = |text: &str| json!({"kind": "record", "ids": [id], "ts": 1, "session": "s", "text": text});
        let entries = json!([
            record("the tea is green"),
            record("other words"),
            {"kind": "record", "ids": [], "ts": 1, "text": "x"},
            {"kind": "record", "ids": [unknown], "ts": 1, "text": "x".repeat(65537)},
            {"kind": "record", "ids": [unknown], "text": "x"},
            {"kind": "record", "ids": [unknown], "ts": i64::MAX, "text": "x"},
            {"kind": "record", "ids": [unknown], "ts": 1, "text": "x", "repetitions": [-1]},
            {"kind": "link", "from": id, "to": unknown, "weight": 5, "used": 1},
            {"kind": "link", "from": id, "to": id, "weight": 5, "used": 1},
            {"kind": "link", "from": id, "to": id, "weight": 0, "used": 1},
            {"kind": "contradicts", "from": unknown, "to": id, "used": 1},
            {"kind": "knob", "knob": "later_knob", "store": unknown, "number": 1, "at": 1, "value": 1},
            {"kind": "later"},
            5
        ]);
        let got = peer.ok("sync_apply", json!({"entries": entries}));
        let refused: Vec<i64> =
            got["refused"].as_array().unwrap().iter().map(|one| one["index"].as_i64().unwrap()).collect();
        assert_eq!(refused, [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13], "{got}");
        assert_eq!((&got["known"], &got["added"]), (&json!(2), &json!(0)));
    }

    #[test]
    fn a_cursor_of_another_state_is_refused() {
        let [mut one, mut other] = two();
        let cursor = |peer: &mut Peer| peer.ok("sync_changes", json!({}))["next"].as_str().unwrap().to_owned();
        capture(&mut one, "the first of the texts");
        let backup = one.bench.folder.path().join("backup");
        one.ok("store_backup", json!({"path": backup}));
        capture(&mut one, "the second of the texts");
        let late = cursor(&mut one);
        let next = one.ok("sync_changes", json!({"since": late}));
        assert_eq!((&next["entries"], &next["next"], &next["total"]), (&json!([]), &json!(late), &json!(0)));
        one.ok("store_restore", json!({"path": backup, "confirm": true}));
        capture(&mut one, "the third of the texts");
        let foreign = cursor(&mut other);
        for text in [late.as_str(), foreign.as_str(), "", "x", &format!("{late} ")] {
            let error = one.call("sync_changes", &json!({"since": text})).unwrap_err();
            assert!(error.message.starts_with("cursor"), "{text}: {error}");
        }
        // An older file under the same id, which has grown again.
        let renamed = |cursor: &str, store: &str| format!("{store}{}", &cursor[32..]);
        let id = cursor(&mut one)[..32].to_owned();
        assert!(one.call("sync_changes", &json!({"since": renamed(&late, &id)})).is_err());
    }

    #[test]
    fn meetings_keep_what_is_left_out() {
        let mut peer = Peer::new(CLOCKS[0]);
        let store = "0f".repeat(16);
        for (more, sent, received) in [
            (json!({"sent": "a", "received": "b"}), json!("a"), json!("b")),
            (json!({"sent": "c"}), json!("c"), json!("b")),
            (json!({"received": null}), json!("c"), json!(null)),
        ] {
            let mut call = json!({"peer": store, "kind": "folder", "name": "/stick"});
            call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            peer.ok("sync_met", call);
            let peers = peer.ok("sync_peers", json!({}))["peers"].clone();
            let found = &peers[0];
            assert_eq!((&found["sent"], &found["received"], &found["peer"]), (&sent, &received, &json!(store)));
            assert_eq!(peers.as_array().unwrap().len(), 1);
        }
        peer.ok("sync_met", json!({"peer": store, "kind": "host", "name": "far"}));
        assert_eq!(peer.ok("sync_peers", json!({}))["peers"].as_array().unwrap().len(), 2);
    }
}
