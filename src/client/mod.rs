//! A blocking client of the daemon's socket: it connects, sends calls and control messages, and reads
//! their replies in the order in which they were sent.
//!
//! It does not start a daemon and knows no method by name. A [`Client`] belongs to one thread; calls that
//! shall run at the same time need a client each. If the connection is lost before any byte of a reply
//! was received, the unanswered calls are sent once more on a new connection. A caller for whom a call
//! must not be carried out twice passes [`DeliveryGuarantee::AtMostOnce`].

mod connection;
mod error;
mod pipeline;
mod policy;
mod transport;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::value::RawValue;

pub use self::error::{ClientError, ReplyFault, UnreachableReason};
pub use self::pipeline::{Pipeline, PipelineReply, RemoteError, WINDOW_BYTES, WINDOW_CALLS};
pub use self::policy::{DeliveryGuarantee, Policy};
pub use crate::wire::reply::code::{FAILED, UNREACHABLE};

use self::transport::Transport;

/// A client of the daemon that listens on one socket path.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// Creates a client that connects on its first call.
    pub fn new(path: impl Into<PathBuf>, policy: Policy) -> Client {
        Client { transport: Transport::new(path.into(), policy) }
    }

    /// Connects with [`Policy::default`].
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no daemon accepts the connection.
    pub fn connect(path: impl Into<PathBuf>) -> Result<Client, ClientError> {
        let mut client = Client::new(path, Policy::default());
        client.transport.reach(client.transport.policy.wait_for_start)?;
        Ok(client)
    }

    /// Returns the socket's path.
    pub fn path(&self) -> &Path {
        self.transport.path()
    }

    /// Calls `method` and waits for its result: the JSON text as the daemon wrote it. `params` must
    /// serialize to an object. The call is delivered [at least once](DeliveryGuarantee::AtLeastOnce).
    ///
    /// # Errors
    /// Every [`ClientError`]; [`ClientError::Refused`] contains the daemon's error.
    pub fn call(&mut self, method: &str, params: &impl Serialize) -> Result<Box<RawValue>, ClientError> {
        self.call_with(DeliveryGuarantee::AtLeastOnce, method, params)
    }

    /// As [`Client::call`], with the given delivery guarantee.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn call_with(
        &mut self,
        delivery: DeliveryGuarantee,
        method: &str,
        params: &impl Serialize,
    ) -> Result<Box<RawValue>, ClientError> {
        let mut pipeline = self.pipeline(delivery);
        pipeline.send(0, method, params)?;
        pipeline.only_reply()
    }

    /// Sends a control message (an object with a `type` and without `jsonrpc`) and returns its whole
    /// reply. A reply with `"ok":false` is returned as any other.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn control(&mut self, message: &impl Serialize) -> Result<Box<RawValue>, ClientError> {
        let mut pipeline = self.pipeline(DeliveryGuarantee::AtLeastOnce);
        pipeline.send_control(message)?;
        pipeline.only_reply()
    }

    /// Starts a pipeline, which sends calls before earlier ones are answered, for bulk work.
    pub fn pipeline(&mut self, delivery: DeliveryGuarantee) -> Pipeline<'_> {
        Pipeline::new(&mut self.transport, delivery)
    }

    /// Closes the connection; the next call opens one. A daemon does not hibernate while a connection
    /// is open, even an idle one.
    pub fn disconnect(&mut self) {
        self.transport.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread::{self, JoinHandle};
    use std::time::Duration;

    use serde_json::json;

    /// A daemon whose whole behaviour is `script`, run on a thread of its own.
    struct Fake {
        folder: tempfile::TempDir,
        script: Option<JoinHandle<()>>,
    }

    impl Fake {
        fn new(script: impl FnOnce(&UnixListener) + Send + 'static) -> Fake {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("s")).unwrap();
            Fake { folder, script: Some(thread::spawn(move || script(&listener))) }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("s")
        }

        fn client(&self) -> Client {
            let wait_for_restart = Duration::ZERO;
            Client::new(self.path(), Policy { wait_for_restart, reply_timeout: SOON, ..Policy::default() })
        }

        /// What `script` asserted must have held.
        fn join(mut self) {
            self.script.take().unwrap().join().unwrap();
        }
    }

    /// Longest any reply of a fake takes.
    const SOON: Duration = Duration::from_secs(10);

    fn accept(listener: &UnixListener) -> BufReader<UnixStream> {
        BufReader::new(listener.accept().unwrap().0)
    }

    fn line(peer: &mut BufReader<UnixStream>) -> serde_json::Value {
        let mut text = String::new();
        peer.read_line(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
    }

    fn say(peer: &mut BufReader<UnixStream>, text: &str) {
        peer.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn ok(id: &serde_json::Value, result: &str) -> String {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n")
    }

    /// Answers calls with their own params until the peer closes.
    fn echo(peer: &mut BufReader<UnixStream>) -> usize {
        let mut count = 0;
        loop {
            let call = line(peer);
            if call.is_null() {
                return count;
            }
            say(peer, &ok(&call["id"], &call["params"].to_string()));
            count += 1;
        }
    }

    fn died(path: PathBuf) -> ClientError {
        ClientError::Unreachable { path, why: UnreachableReason::ConnectionLost }
    }

    #[test]
    fn a_call_goes_out_as_one_line_and_its_result_comes_back_as_written() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            let call = line(&mut peer);
            assert_eq!(call, json!({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1,2]}}));
            say(&mut peer, &ok(&call["id"], "{\"n\":1.50,\"big\":123456789012345678901234567890}"));
            let call = line(&mut peer);
            assert_eq!(call["id"], 2);
            say(&mut peer, &ok(&call["id"], "null"));
        });
        let mut client = fake.client();
        let raw = RawValue::from_string("{\n\"a\":\r\n[1,\n2]}".into()).unwrap();
        assert_eq!(client.call("m", &raw).unwrap().get(), "{\"n\":1.50,\"big\":123456789012345678901234567890}");
        assert_eq!(client.call("m", &json!({})).unwrap().get(), "null");
        fake.join();
    }

    #[test]
    fn a_reply_may_come_in_any_pieces() {
        let text = ok(&json!(1), "\"\u{e9}\u{1f600}\"");
        for cut in 0..text.len() {
            let (head, tail) = (text.as_bytes()[..cut].to_vec(), text.as_bytes()[cut..].to_vec());
            let fake = Fake::new(move |listener| {
                let mut peer = accept(listener);
                line(&mut peer);
                peer.get_mut().write_all(&head).unwrap();
                thread::yield_now();
                peer.get_mut().write_all(&tail).unwrap();
            });
            assert_eq!(fake.client().call("m", &json!({})).unwrap().get(), "\"\u{e9}\u{1f600}\"", "cut at {cut}");
            fake.join();
        }
    }

    #[test]
    fn a_daemon_that_dies_before_its_reply_gets_the_call_again_once() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(line(&mut peer)["params"], json!({"k":1}));
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        assert_eq!(client.call("m", &json!({"k":1})).unwrap().get(), "{\"k\":1}");
        drop(client);
        fake.join();

        let fake = Fake::new(|listener| {
            for _ in 0..2 {
                line(&mut accept(listener));
            }
        });
        assert_eq!(fake.client().call("m", &json!({})).unwrap_err(), died(fake.path()));
        fake.join();
    }

    #[test]
    fn a_call_that_may_not_repeat_is_sent_again_only_where_nothing_had_left() {
        let fake = Fake::new(|listener| drop(line(&mut accept(listener))));
        let outcome = fake.client().call_with(DeliveryGuarantee::AtMostOnce, "m", &json!({}));
        assert_eq!(outcome.unwrap_err(), died(fake.path()));
        fake.join();

        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            let call = line(&mut peer);
            say(&mut peer, &ok(&call["id"], "1"));
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        client.call("m", &json!({})).unwrap();
        // The peer has closed once its end of file is here; until then a write would still leave.
        let mut rest = [0];
        let stream = client.transport.connection.as_ref().unwrap().stream();
        assert_eq!(stream.try_clone().unwrap().read(&mut rest).unwrap(), 0);
        assert_eq!(client.call_with(DeliveryGuarantee::AtMostOnce, "m", &json!({"k":2})).unwrap().get(), "{\"k\":2}");
        drop(client);
        fake.join();
    }

    #[test]
    fn a_daemon_that_is_restarted_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let place = path.clone();
        let script = thread::spawn(move || {
            let listener = UnixListener::bind(&place).unwrap();
            let mut peer = accept(&listener);
            line(&mut peer);
            // Gone as a whole before its peer can notice, and back only after a failed attempt.
            std::fs::remove_file(&place).unwrap();
            drop(listener);
            drop(peer);
            thread::sleep(transport::RETRY_PAUSES.0 * 2);
            assert_eq!(echo(&mut accept(&UnixListener::bind(&place).unwrap())), 1);
        });
        let mut client =
            Client::new(&path, Policy { wait_for_start: SOON, wait_for_restart: SOON, ..Policy::default() });
        assert_eq!(client.call("m", &json!({})).unwrap().get(), "{}");
        drop(client);
        script.join().unwrap();
    }

    #[test]
    fn replies_that_break_the_contract_end_the_call_and_the_connection() {
        let cases: [(&str, ReplyFault); 10] = [
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"resu", ReplyFault::Truncated),
            ("HTTP/1.1 400 Bad Request\n", ReplyFault::NotJsonRpc),
            ("[1]\n", ReplyFault::NotJsonRpc),
            ("{\"ok\":true}\n", ReplyFault::NotJsonRpc),
            ("{\"jsonrpc\":\"2.0\",\"id\":1}\n", ReplyFault::NotJsonRpc),
            ("{\"jsonrpc\":\"2.0\",\"result\":1}\n", ReplyFault::NotJsonRpc),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":\"x\"}}\n", ReplyFault::NotJsonRpc),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1,\"error\":{\"code\":1,\"message\":\"\"}}\n",
                ReplyFault::NotJsonRpc,
            ),
            ("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}\n", ReplyFault::UnexpectedId),
            ("{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":1}\n", ReplyFault::UnexpectedId),
        ];
        for (reply, fault) in cases {
            let fake = Fake::new(move |listener| {
                let mut peer = accept(listener);
                line(&mut peer);
                say(&mut peer, reply);
            });
            let mut client = fake.client();
            let error = client.call("m", &json!({})).unwrap_err();
            assert_eq!(error, ClientError::BadReply { path: fake.path(), fault }, "{reply}");
            assert!(client.transport.connection.is_none());
            assert_eq!(error.code(), FAILED);
            fake.join();
        }
    }

    #[test]
    fn a_reply_over_the_limit_is_not_kept() {
        let fits = |bytes: usize| {
            let fake = Fake::new(move |listener| {
                let mut peer = accept(listener);
                line(&mut peer);
                let around = ok(&json!(1), "\"\"").len() - 1;
                // The client may have hung up by then: that is what it is to do.
                drop(peer.get_mut().write_all(ok(&json!(1), &format!("{:?}", "x".repeat(bytes - around))).as_bytes()));
            });
            let policy = Policy { max_reply_bytes: 100_000, wait_for_restart: Duration::ZERO, ..Policy::default() };
            let outcome = Client::new(fake.path(), policy).call("m", &json!({}));
            let path = fake.path();
            fake.join();
            (outcome.map(|result| result.get().len()), path)
        };
        assert!(fits(100_000).0.is_ok());
        let (outcome, path) = fits(100_001);
        assert_eq!(outcome, Err(ClientError::BadReply { path, fault: ReplyFault::TooLong { limit: 100_000 } }));
    }

    #[test]
    fn refusals_are_the_daemons_own_words() {
        let refused = |code, message: &str| ClientError::Refused { code, message: message.into() };
        for (reply, error) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"unknown method 'm'"}}"#,
                refused(-32601, "unknown method 'm'"),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"line exceeds 10 bytes"}}"#,
                refused(-32600, "line exceeds 10 bytes"),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"too many connections (limit 1)"}}"#,
                refused(-32001, "too many connections (limit 1)"),
            ),
        ] {
            let fake = Fake::new(move |listener| {
                let mut peer = accept(listener);
                say(&mut peer, &format!("{reply}\n"));
                line(&mut peer);
            });
            assert_eq!(fake.client().call("m", &json!({})).unwrap_err(), error);
            fake.join();
        }
    }

    #[test]
    fn a_full_daemons_refusal_is_read_though_it_has_hung_up() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            let message =
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"too many connections (limit 1)"}}"#;
            say(&mut peer, &format!("{message}\n"));
        });
        let mut client = fake.client();
        client.transport.reach(Duration::ZERO).unwrap();
        let path = fake.path();
        fake.join();
        let error = client.call("m", &json!({})).unwrap_err();
        let full = ClientError::Refused { code: FAILED, message: "too many connections (limit 1)".into() };
        assert_eq!(error, full, "{}", path.display());
    }

    #[test]
    fn a_control_message_has_no_envelope() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(line(&mut peer), json!({"type":"pause"}));
            say(&mut peer, "{\"ok\":false,\"reason\":\"state_write_failed\",\"error\":\"disk full\"}\n");
        });
        let reply = fake.client().control(&json!({"type":"pause"})).unwrap();
        assert_eq!(reply.get(), "{\"ok\":false,\"reason\":\"state_write_failed\",\"error\":\"disk full\"}");
        fake.join();
    }

    #[test]
    fn no_reply_in_time_is_said_and_never_sent_again() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            line(&mut peer);
            assert!(line(&mut peer).is_null());
        });
        let reply_timeout = Duration::from_millis(20);
        let mut client = Client::new(fake.path(), Policy { reply_timeout, ..Policy::default() });
        let error = client.call("m", &json!({})).unwrap_err();
        assert_eq!(
            error,
            ClientError::Unreachable { path: fake.path(), why: UnreachableReason::NoReply(reply_timeout) }
        );
        assert_eq!(error.code(), UNREACHABLE);
        fake.join();
    }

    #[test]
    fn a_missing_daemon_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let dead = folder.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        let long = folder.path().join("x".repeat(200));
        for (path, why) in [
            (&gone, UnreachableReason::NoSocket),
            (&dead, UnreachableReason::NotListening),
            (
                &long,
                UnreachableReason::PathTooLong {
                    bytes: long.as_os_str().len(),
                    limit: if cfg!(target_os = "linux") { 107 } else { 103 },
                },
            ),
        ] {
            let error = Client::connect(path).unwrap_err();
            assert_eq!(error, ClientError::Unreachable { path: path.clone(), why });
            assert!(error.to_string().starts_with("daemon_unreachable: "));
        }
        let said = Client::connect(&gone).unwrap_err().to_string();
        assert!(said.ends_with("start it with: iaid serve"), "{said}");
        assert!(matches!(Client::connect(&gone).unwrap_err().code(), UNREACHABLE));
    }

    #[test]
    fn a_pipeline_keeps_order_and_window() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            // All that is allowed arrives before anything is answered.
            let calls: Vec<_> = (0..WINDOW_CALLS).map(|_| line(&mut peer)).collect();
            for call in calls {
                say(&mut peer, &ok(&call["id"], &call["params"].to_string()));
            }
            assert_eq!(echo(&mut peer), 200 - WINDOW_CALLS);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..200 {
            pipeline.send(tag, "m", &json!({"tag": tag})).unwrap();
            assert!(pipeline.unanswered().count() <= WINDOW_CALLS);
        }
        pipeline.finish().unwrap();
        for tag in 0..200 {
            let answer = pipeline.take_reply().unwrap();
            assert_eq!((answer.tag, answer.outcome.unwrap().get()), (tag, format!("{{\"tag\":{tag}}}").as_str()));
        }
        assert!(pipeline.take_reply().is_none());
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn large_calls_wait_for_each_other() {
        let fake = Fake::new(|listener| assert_eq!(echo(&mut accept(listener)), 12));
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..12 {
            // Two of the small ones fit together, the large ones go alone.
            let bytes = if tag % 4 == 3 { WINDOW_BYTES * 3 } else { WINDOW_BYTES / 2 - 100 };
            pipeline.send(tag, "m", &json!({"text": "z".repeat(bytes)})).unwrap();
            assert!(pipeline.unanswered().count() <= if tag % 4 == 3 { 1 } else { 2 }, "call {tag}");
        }
        pipeline.finish().unwrap();
        assert_eq!(std::iter::from_fn(|| pipeline.take_reply()).count(), 12);
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn a_pipeline_survives_a_death_and_sends_only_what_is_unanswered() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            let calls: Vec<_> = (0..5).map(|_| line(&mut peer)).collect();
            for call in &calls[..2] {
                say(&mut peer, &ok(&call["id"], &call["params"].to_string()));
            }
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 3);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..5 {
            pipeline.send(tag, "m", &json!({"tag": tag})).unwrap();
        }
        pipeline.finish().unwrap();
        let tags: Vec<_> = std::iter::from_fn(|| pipeline.take_reply()).map(|answer| answer.tag).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4]);
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn a_write_without_room_gives_way_to_reading() {
        // A daemon that takes nothing more until its own replies are taken, as back-pressure does.
        let reply = "y".repeat(1 << 20);
        let fake = Fake::new(move |listener| {
            let mut peer = accept(listener);
            for _ in 0..3 {
                let call = line(&mut peer);
                say(&mut peer, &ok(&call["id"], &format!("{reply:?}")));
            }
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        pipeline.send(0, "m", &json!({})).unwrap();
        // More than the window lets through, put past it.
        for tag in 1..3 {
            let line = encode_call(tag + 1, &"x".repeat(2 << 20));
            pipeline.push_past_window(tag, tag + 1, line).unwrap();
        }
        pipeline.finish().unwrap();
        assert_eq!(std::iter::from_fn(|| pipeline.take_reply()).count(), 3);
        drop(pipeline);
        fake.join();
    }

    fn encode_call(id: u64, text: &str) -> Vec<u8> {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\",\"params\":{{\"text\":\"{text}\"}}}}\n")
            .into_bytes()
    }

    #[test]
    fn a_pipeline_left_early_leaves_no_late_replies_behind() {
        let fake = Fake::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(line(&mut peer)["method"], "left");
            assert!(line(&mut peer).is_null());
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        pipeline.send(0, "left", &json!({})).unwrap();
        assert_eq!(pipeline.unanswered().collect::<Vec<_>>(), [0]);
        drop(pipeline);
        assert_eq!(client.call("m", &json!({"k":3})).unwrap().get(), "{\"k\":3}");
        drop(client);
        fake.join();
    }
}
