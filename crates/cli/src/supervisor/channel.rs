//! The supervisor's end of the channel to the wrapper.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::supervisor::message::{Event, Order};

/// Connection to the wrapper: receives orders and sends events, one per line.
pub struct Channel {
    stream: UnixStream,
    /// Received part of an incomplete line.
    received: Vec<u8>,
    /// Events that the socket has not accepted yet.
    unsent: Vec<u8>,
}

impl Channel {
    /// Creates a channel in blocking mode.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), unsent: Vec::new() }
    }

    /// Sends an event.
    ///
    /// In non-blocking mode, an event that the socket does not accept is kept and sent later, because the wrapper may
    /// be stopped. [`Event::Stopped`] is dropped in that case, because it would be out of date.
    pub fn send(&mut self, event: Event) -> io::Result<()> {
        self.flush()?;
        if self.unsent.is_empty() || event != Event::Stopped {
            self.unsent.extend_from_slice(format!("{event}\n").as_bytes());
        }
        self.flush()
    }

    /// Sends as much of the unsent events as the socket accepts.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends all unsent events, and blocks for as long as that takes.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.flush()
    }

    /// Switches to non-blocking mode.
    pub fn into_nonblocking(self) -> io::Result<Self> {
        self.stream.set_nonblocking(true)?;
        Ok(self)
    }

    /// Returns the orders that have arrived, or `None` if the wrapper has closed the channel.
    ///
    /// In blocking mode it waits for at least one byte. In non-blocking mode the result may be empty.
    pub fn receive(&mut self) -> Option<Vec<Order>> {
        let mut bytes = [0; 4096];
        let read = loop {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(Vec::new()),
                // A broken channel is treated like a closed one, because no more grants can arrive.
                Err(_) | Ok(0) => return None,
                Ok(read) => break read,
            }
        };
        self.received.extend_from_slice(&bytes[..read]);
        let mut orders = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.received.drain(..=end).collect();
            orders.extend(std::str::from_utf8(&line[..end]).ok().and_then(Order::parse));
        }
        Some(orders)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_never_blocks_and_final_event_is_delivered() {
        const MANY: usize = 10_000;
        let (local, mut remote) = UnixStream::pair().expect("a channel");
        let mut channel = Channel::new(local).into_nonblocking().expect("it is open");
        (0..MANY).for_each(|_| channel.send(Event::Stopped).expect("it is open"));
        channel.send(Event::AllEnded { forced: true }).expect("it is open");
        let reader = std::thread::spawn(move || {
            let mut all = String::new();
            remote.read_to_string(&mut all).map(|_| all)
        });
        channel.finish().expect("the reader is there");
        let all = reader.join().expect("no panic").expect("it was open");
        let events: Vec<_> = all.lines().map(Event::parse).collect();
        let (last, before) = events.split_last().expect("at least one event");
        assert_eq!(*last, Some(Event::AllEnded { forced: true }));
        assert!(before.iter().all(|event| *event == Some(Event::Stopped)) && before.len() < MANY);
    }
}
