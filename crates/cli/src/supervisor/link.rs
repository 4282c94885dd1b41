//! The supervisor's end of the channel.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::message::{Order, Report};

pub struct Link {
    channel: UnixStream,
    /// What has come of the next line.
    part: Vec<u8>,
}

impl Link {
    pub fn new(channel: UnixStream) -> Self {
        Self { channel, part: Vec::new() }
    }

    /// Says it. There are fewer reports than the channel takes without being read.
    pub fn tell(&mut self, report: Report) -> io::Result<()> {
        self.channel.write_all(format!("{report}\n").as_bytes())
    }

    /// From now on nothing here waits.
    pub fn without_waiting(self) -> io::Result<Self> {
        self.channel.set_nonblocking(true)?;
        Ok(self)
    }

    /// What has been said: waits for the first byte, or is empty if there is none. `None` once nobody is there any more.
    pub fn hear(&mut self) -> Option<Vec<Order>> {
        let mut bytes = [0; 4096];
        let read = loop {
            match self.channel.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Vec::new()),
                // A channel that is broken carries no more time: as good as its end.
                Err(_) | Ok(0) => return None,
                Ok(read) => break read,
            }
        };
        self.part.extend_from_slice(&bytes[..read]);
        let mut orders = Vec::new();
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.part.drain(..=end).collect();
            orders.extend(std::str::from_utf8(&line[..end]).ok().and_then(Order::parse));
        }
        Some(orders)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
