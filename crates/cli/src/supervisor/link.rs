//! The supervisor's end of the channel.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::message::{Order, Report};

pub struct Link {
    channel: UnixStream,
    /// What has come of the next line.
    part: Vec<u8>,
    /// What did not fit yet.
    unsaid: Vec<u8>,
}

impl Link {
    pub fn new(channel: UnixStream) -> Self {
        Self { channel, part: Vec::new(), unsaid: Vec::new() }
    }

    /// Says it. Once nothing waits, what does not fit is kept until it does: the wrapper may be stopped. Only that the
    /// command was stopped is of no use by then.
    pub fn tell(&mut self, report: Report) -> io::Result<()> {
        self.go_on()?;
        if self.unsaid.is_empty() || report != Report::Stopped {
            self.unsaid.extend_from_slice(format!("{report}\n").as_bytes());
        }
        self.go_on()
    }

    /// Says of what did not fit as much as does now.
    pub fn go_on(&mut self) -> io::Result<()> {
        while !self.unsaid.is_empty() {
            match self.channel.write(&self.unsaid) {
                Ok(written) => drop(self.unsaid.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says the rest, however long it takes.
    pub fn finish(mut self) -> io::Result<()> {
        self.channel.set_nonblocking(false)?;
        self.go_on()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_who_does_not_listen_and_the_end_is_told_all_the_same() {
        const MANY: usize = 10_000;
        let (ours, mut theirs) = UnixStream::pair().expect("a channel");
        let mut link = Link::new(ours).without_waiting().expect("ours");
        (0..MANY).for_each(|_| link.tell(Report::Stopped).expect("it is open"));
        link.tell(Report::Gone { forced: true }).expect("it is open");
        let listens = std::thread::spawn(move || {
            let mut all = String::new();
            theirs.read_to_string(&mut all).map(|_| all)
        });
        link.finish().expect("somebody listens");
        let all = listens.join().expect("no panic").expect("it was open");
        let told: Vec<_> = all.lines().map(Report::parse).collect();
        let (last, before) = told.split_last().expect("something was told");
        assert_eq!(*last, Some(Report::Gone { forced: true }));
        assert!(before.iter().all(|report| *report == Some(Report::Stopped)) && before.len() < MANY);
    }
}
