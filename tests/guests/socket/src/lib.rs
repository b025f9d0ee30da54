//! An operator that would call home. What it is compiled from imports `wasi:sockets`, so that the
//! host refuses to load it.

use std::io::Write;
use std::net::TcpStream;

use wasmill_sdk::prelude::*;

/// What is read and passed on.
#[derive(Row)]
pub struct Line<'a> {
    ask: &'a str,
}

/// The operator.
pub struct CallsHome;

impl Operator for CallsHome {
    const PLUGIN: Plugin = plugin!();
    type Config = ();
    type Input<'a> = Line<'a>;
    type Output<'a> = Line<'a>;
    type State = ();

    fn open(_config: (), _start: &Start) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn process(&mut self, row: Line<'_>, cx: &mut Context<'_, Self>) -> Result<(), Reject> {
        if let Ok(mut stream) = TcpStream::connect("127.0.0.1:9") {
            let _ = stream.write_all(row.ask.as_bytes());
        }
        cx.emit(row);
        Ok(())
    }
}

wasmill_sdk::export!(CallsHome);
