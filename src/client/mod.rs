//! A blocking client of the daemon's socket: it connects, sends calls and control messages, and reads
//! their replies in the order in which they were sent.
//!
//! It does not start a daemon and knows no method by name. A [`Client`] belongs to one thread; calls that
//! shall run at the same time need a client each. If the connection is lost before any byte of a reply
//! was received, the unanswered calls are sent once more on a new connection. A caller for whom a call
//! must not be carried out twice passes [`DeliveryGuarantee::AtMostOnce`].

mod connection;
mod error;
#[cfg(test)]
mod fake_daemon;
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
    use std::io::{Read, Write};
    use std::thread;
    use std::time::Duration;

    use super::fake_daemon::{FakeDaemon, accept, echo, ok, read_line, write};
    use super::*;

    use serde_json::json;

    fn died(path: PathBuf) -> ClientError {
        ClientError::Unreachable { path, why: UnreachableReason::ConnectionLost }
    }

    #[test]
    fn a_call_is_one_line_and_its_result_is_returned_byte_for_byte() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            let call = read_line(&mut peer);
            assert_eq!(call, json!({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1,2]}}));
            write(&mut peer, &ok(&call["id"], "{\"n\":1.50,\"big\":123456789012345678901234567890}"));
            let call = read_line(&mut peer);
            assert_eq!(call["id"], 2);
            write(&mut peer, &ok(&call["id"], "null"));
        });
        let mut client = fake.client();
        let raw = RawValue::from_string("{\n\"a\":\r\n[1,\n2]}".into()).unwrap();
        assert_eq!(client.call("m", &raw).unwrap().get(), "{\"n\":1.50,\"big\":123456789012345678901234567890}");
        assert_eq!(client.call("m", &json!({})).unwrap().get(), "null");
        fake.join();
    }

    #[test]
    fn a_reply_may_arrive_in_any_pieces() {
        let text = ok(&json!(1), "\"\u{e9}\u{1f600}\"");
        for cut in 0..text.len() {
            let (head, tail) = (text.as_bytes()[..cut].to_vec(), text.as_bytes()[cut..].to_vec());
            let fake = FakeDaemon::new(move |listener| {
                let mut peer = accept(listener);
                read_line(&mut peer);
                peer.get_mut().write_all(&head).unwrap();
                thread::yield_now();
                peer.get_mut().write_all(&tail).unwrap();
            });
            assert_eq!(fake.client().call("m", &json!({})).unwrap().get(), "\"\u{e9}\u{1f600}\"", "cut at {cut}");
            fake.join();
        }
    }

    #[test]
    fn a_call_is_sent_again_once_after_the_connection_was_lost() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(read_line(&mut peer)["params"], json!({"k":1}));
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        assert_eq!(client.call("m", &json!({"k":1})).unwrap().get(), "{\"k\":1}");
        drop(client);
        fake.join();

        let fake = FakeDaemon::new(|listener| {
            for _ in 0..2 {
                read_line(&mut accept(listener));
            }
        });
        assert_eq!(fake.client().call("m", &json!({})).unwrap_err(), died(fake.path()));
        fake.join();
    }

    #[test]
    fn an_at_most_once_call_is_sent_again_only_if_no_byte_was_written() {
        let fake = FakeDaemon::new(|listener| drop(read_line(&mut accept(listener))));
        let outcome = fake.client().call_with(DeliveryGuarantee::AtMostOnce, "m", &json!({}));
        assert_eq!(outcome.unwrap_err(), died(fake.path()));
        fake.join();

        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            let call = read_line(&mut peer);
            write(&mut peer, &ok(&call["id"], "1"));
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        client.call("m", &json!({})).unwrap();
        // Waits for the end of file: before that, a write would still succeed.
        let mut rest = [0];
        let stream = client.transport.connection.as_ref().unwrap().stream();
        assert_eq!(stream.try_clone().unwrap().read(&mut rest).unwrap(), 0);
        assert_eq!(client.call_with(DeliveryGuarantee::AtMostOnce, "m", &json!({"k":2})).unwrap().get(), "{\"k\":2}");
        drop(client);
        fake.join();
    }

    #[test]
    fn invalid_replies_fail_the_call_and_close_the_connection() {
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
            let fake = FakeDaemon::new(move |listener| {
                let mut peer = accept(listener);
                read_line(&mut peer);
                write(&mut peer, reply);
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
    fn a_reply_over_the_limit_is_refused() {
        let fits = |bytes: usize| {
            let fake = FakeDaemon::new(move |listener| {
                let mut peer = accept(listener);
                read_line(&mut peer);
                let envelope = ok(&json!(1), "\"\"").len() - 1;
                // Fails if the client has already closed the connection, as it should.
                drop(
                    peer.get_mut().write_all(ok(&json!(1), &format!("{:?}", "x".repeat(bytes - envelope))).as_bytes()),
                );
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
    fn errors_of_the_daemon_are_returned_unchanged() {
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
            let fake = FakeDaemon::new(move |listener| {
                let mut peer = accept(listener);
                write(&mut peer, &format!("{reply}\n"));
                read_line(&mut peer);
            });
            assert_eq!(fake.client().call("m", &json!({})).unwrap_err(), error);
            fake.join();
        }
    }

    #[test]
    fn the_refusal_of_a_full_daemon_is_read_after_it_closed_the_connection() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            let message =
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"too many connections (limit 1)"}}"#;
            write(&mut peer, &format!("{message}\n"));
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
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(read_line(&mut peer), json!({"type":"pause"}));
            write(&mut peer, "{\"ok\":false,\"reason\":\"state_write_failed\",\"error\":\"disk full\"}\n");
        });
        let reply = fake.client().control(&json!({"type":"pause"})).unwrap();
        assert_eq!(reply.get(), "{\"ok\":false,\"reason\":\"state_write_failed\",\"error\":\"disk full\"}");
        fake.join();
    }

    #[test]
    fn a_call_without_a_reply_in_time_is_not_sent_again() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            read_line(&mut peer);
            assert!(read_line(&mut peer).is_null());
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
}
