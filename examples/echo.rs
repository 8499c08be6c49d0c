//! A server with one method: `echo` returns its param `text`.
//!
//! ```sh
//! cargo run --no-default-features --example echo -- /tmp/echo.sock
//! echo '{"jsonrpc":"2.0","id":1,"method":"echo","params":{"text":"hi"}}' | nc -NU /tmp/echo.sock
//! ```

use std::error::Error;
use std::path::PathBuf;

use iaid::dispatch::{Dispatch, Pace, Params, Reply};
use iaid::serve::Server;
use iaid::sys::listener::Listener;

struct Echo;

impl Dispatch for Echo {
    type Worker = ();

    fn worker(&self) {}

    fn method(&self, name: &str) -> Option<Pace> {
        (name == "echo").then_some(Pace::Ordered)
    }

    fn call(&self, _: &mut (), _: &str, params: Params<'_>, reply: Reply<'_>) {
        reply.send(params.string("text"));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: echo SOCKET")?;
    Ok(Server::new(Listener::bind(&path)?, Echo)?.run()?)
}
