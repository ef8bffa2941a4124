//! What a socket gave and nobody has looked at yet.

use std::io::{self, ErrorKind, Read};

use leveret_amqp091::frame::{self, Frame};

use crate::error::Error;

/// A buffer for two of the largest frames: one may lie across its end, and is moved to the front then.
pub(crate) struct Inbox {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
    frame_max: u32,
}

impl Inbox {
    pub(crate) fn new(frame_max: u32) -> Self {
        Self {
            octets: vec![0; 2 * (frame_max as usize + frame::OVERHEAD)].into_boxed_slice(),
            start: 0,
            end: 0,
            frame_max,
        }
    }

    /// Reads once. `false` when there is nothing yet; the end of the stream is an error.
    #[inline]
    pub(crate) fn fill(&mut self, socket: &mut impl Read) -> io::Result<bool> {
        self.octets.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = loop {
            match socket.read(&mut self.octets[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.end += read;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the next frame that is here as a whole.
    #[inline]
    pub(crate) fn frame(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let frame = frame::next(&self.octets[self.start..self.end], self.frame_max)?;
        if let Some(frame) = &frame {
            self.start += frame.total_len();
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_amqp091::frame::{FrameType, HEARTBEAT};

    /// Gives a few octets at each read.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn frames_are_found_however_they_come() {
        let large = [
            &frame::header(FrameType::Body, 3, 20)[..],
            &[7; 20],
            &[frame::END],
        ]
        .concat();
        let stream = [&HEARTBEAT[..], &large, &HEARTBEAT].concat().repeat(5);
        for step in 1..60 {
            let mut inbox = Inbox::new(24);
            let mut source = Trickle(&stream, step);
            let mut found = Vec::new();
            while inbox.fill(&mut source).is_ok() {
                while let Some(frame) = inbox.frame().unwrap() {
                    found.push(frame.payload.len());
                }
            }
            assert_eq!(found, [0, 20, 0].repeat(5), "in steps of {step}");
        }
    }
}
