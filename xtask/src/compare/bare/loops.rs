//! The loops themselves. Each runs in a process of its own, which `bare.rs` starts on a core, and says what it found as
//! numbers on a line. Blocking reads and writes, but for large messages, and as little else as can be.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A message, without what a protocol would put around it.
const MESSAGE: usize = 1024;
/// A confirm with the frame around it, rounded up.
const CONFIRM: usize = 32;
/// What brokers read at once.
const READ: usize = 64 * 1024;
const FILE: u64 = 64 * 1024 * 1024;
/// What is written and synced at once, at most.
const BATCH: usize = 1024 * 1024;
const TIME: Duration = Duration::from_secs(3);
const CLOCK_TIME: Duration = Duration::from_secs(4);
/// What is longer between two looks at the clock is not the loop's own time.
const GAP: Duration = Duration::from_micros(200);

/// Runs the loop of this name. Those that serve first say on which port.
pub(super) fn run(words: &[&str]) -> io::Result<()> {
    let figures = match *words {
        ["clock"] => clock(),
        ["sync", file] => sync(Path::new(file))?,
        ["echo"] => echo(serve()?)?,
        ["sync-echo", file] => sync_echo(Path::new(file))?,
        ["paced", port, octets, every_ns] => {
            let every = Duration::from_nanos(number(every_ns)?);
            let count = (TIME.as_nanos() / every.as_nanos()) as u32;
            paced(connect(port)?, number(octets)? as usize, every, count)?
        }
        ["one-by-one", port] => one_by_one(connect(port)?)?,
        ["sync-all", file] => {
            let file = Preallocated::new(Path::new(file))?;
            sync_all(file, serve()?)?
        }
        ["window", port, outstanding] => {
            vec![window(connect(port)?, number(outstanding)? as usize, TIME)?]
        }
        ["relay", octets] => relay(serve()?, number(octets)? as usize)?,
        ["outstanding", port, octets, outstanding] => {
            let (octets, outstanding) = (number(octets)? as usize, number(outstanding)? as usize);
            vec![round_trips(connect(port)?, octets, outstanding, TIME)?]
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    say(&figures)
}

fn number(word: &str) -> io::Result<u64> {
    word.parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn say(figures: &[u64]) -> io::Result<()> {
    let words: Vec<String> = figures.iter().map(u64::to_string).collect();
    let mut out = io::stdout();
    writeln!(out, "{}", words.join(" "))?;
    out.flush()
}

/// Waits for the one who will connect.
fn serve() -> io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(&[listener.local_addr()?.port().into()])?;
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn connect(port: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Gives the time in gaps, the longest of them, and all of the time.
fn clock() -> Vec<u64> {
    let start = Instant::now();
    let (mut last, mut lost, mut longest) = (start, Duration::ZERO, Duration::ZERO);
    while last - start < CLOCK_TIME {
        let now = Instant::now();
        if now - last > GAP {
            lost += now - last;
            longest = longest.max(now - last);
        }
        last = now;
    }
    let all = [lost, longest, last - start];
    all.map(|time| time.as_nanos() as u64).to_vec()
}

/// A file whose blocks are all there, so that a sync writes data and nothing about the file.
struct Preallocated {
    file: File,
    at: u64,
}

impl Preallocated {
    fn new(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let zeros = vec![0; READ];
        for _ in 0..FILE / READ as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    fn write_and_sync(&mut self, octets: &[u8]) -> io::Result<()> {
        let len = octets.len() as u64;
        if self.at + len > FILE {
            self.at = 0;
        }
        self.file.write_all_at(octets, self.at)?;
        self.at += len;
        self.file.sync_data()
    }
}

fn sync(path: &Path) -> io::Result<Vec<u64>> {
    let mut file = Preallocated::new(path)?;
    repeat(|| file.write_and_sync(&[1; MESSAGE]))
}

/// How long each takes, one after the other.
fn repeat(mut once: impl FnMut() -> io::Result<()>) -> io::Result<Vec<u64>> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut last = start;
    while last - start < TIME {
        once()?;
        let now = Instant::now();
        times.push(now - last);
        last = now;
    }
    Ok(percentiles(times))
}

fn percentiles(mut times: Vec<Duration>) -> Vec<u64> {
    times.sort_unstable();
    let of = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    [50, 95, 99].map(|p| of(p).as_nanos() as u64).to_vec()
}

/// Sends back what comes.
fn echo(mut socket: TcpStream) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0; READ];
    loop {
        match socket.read(&mut buffer)? {
            0 => return Ok(Vec::new()),
            read => socket.write_all(&buffer[..read])?,
        }
    }
}

/// Sends back each message when all of it has come, and reads the next meanwhile.
fn relay(mut socket: TcpStream, octets: usize) -> io::Result<Vec<u64>> {
    socket.set_nonblocking(true)?;
    let (mut coming, mut going) = (vec![0; octets], vec![0; octets]);
    let (mut come, mut gone) = (0, octets);
    loop {
        match now(socket.read(&mut coming[come..]))? {
            Some(0) if come < octets => return Ok(Vec::new()),
            read => come += read.unwrap_or(0),
        }
        if come == octets && gone == octets {
            mem::swap(&mut coming, &mut going);
            (come, gone) = (0, 0);
        }
        gone += now(socket.write(&going[gone..]))?.unwrap_or(0);
    }
}

/// Keeps so many messages on their way; gives how many came back in a second.
fn round_trips(
    mut socket: TcpStream,
    octets: usize,
    outstanding: usize,
    time: Duration,
) -> io::Result<u64> {
    socket.set_nonblocking(true)?;
    let mut buffer = vec![1; octets];
    let (mut sent, mut came_back) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < time {
        let room = (came_back + outstanding * octets - sent).min(octets);
        sent += now(socket.write(&buffer[..room]))?.unwrap_or(0);
        came_back += now(socket.read(&mut buffer))?.unwrap_or(0);
    }
    Ok(((came_back / octets) as f64 / start.elapsed().as_secs_f64()) as u64)
}

/// What a socket that does not block did; `None`: nothing.
fn now(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        done => done.map(Some),
    }
}

fn sync_echo(path: &Path) -> io::Result<Vec<u64>> {
    let mut file = Preallocated::new(path)?;
    let mut socket = serve()?;
    let mut message = [0; MESSAGE];
    while socket.read_exact(&mut message).is_ok() {
        file.write_and_sync(&message)?;
        socket.write_all(&[1; CONFIRM])?;
    }
    Ok(Vec::new())
}

fn one_by_one(mut socket: TcpStream) -> io::Result<Vec<u64>> {
    repeat(|| {
        socket.write_all(&[1; MESSAGE])?;
        socket.read_exact(&mut [0; CONFIRM])
    })
}

/// Writes and syncs all messages that have come, then says how many, then looks again.
fn sync_all(mut file: Preallocated, mut socket: TcpStream) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0; BATCH];
    let mut filled = 0;
    loop {
        match socket.read(&mut buffer[filled..])? {
            0 => return Ok(Vec::new()),
            read => filled += read,
        }
        let messages = filled / MESSAGE;
        let whole = messages * MESSAGE;
        if messages > 0 {
            file.write_and_sync(&buffer[..whole])?;
            let mut confirm = [0; CONFIRM];
            confirm[..8].copy_from_slice(&(messages as u64).to_be_bytes());
            socket.write_all(&confirm)?;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Sends as many messages as are confirmed; gives how many were so in a second.
fn window(mut socket: TcpStream, outstanding: usize, time: Duration) -> io::Result<u64> {
    let messages = vec![1; outstanding * MESSAGE];
    let start = Instant::now();
    let mut confirmed = 0;
    socket.write_all(&messages)?;
    while start.elapsed() < time {
        let mut confirm = [0; CONFIRM];
        socket.read_exact(&mut confirm)?;
        let count = confirm.first_chunk().copied().map(u64::from_be_bytes);
        let count = count.unwrap_or_default();
        confirmed += count;
        socket.write_all(&messages[..count as usize * MESSAGE])?;
    }
    Ok((confirmed as f64 / start.elapsed().as_secs_f64()) as u64)
}

/// Sends when it is due, whatever has come back; counts from when it was due.
fn paced(socket: TcpStream, octets: usize, every: Duration, count: u32) -> io::Result<Vec<u64>> {
    // Linux wakes threads up to 50 µs late, unless told not to.
    fs::write("/proc/self/timerslack_ns", "1")?;
    let start = Instant::now() + Duration::from_millis(10);
    let receiver = thread::spawn({
        let socket = socket.try_clone()?;
        move || receive(socket, octets, (0..count).map(|n| start + every * n))
    });
    let message = vec![1; octets];
    for n in 0..count {
        let due = start + every * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        (&socket).write_all(&message)?;
    }
    let times = receiver.join().expect("the receiver does not panic")?;
    Ok(percentiles(times))
}

fn receive(
    mut socket: TcpStream,
    octets: usize,
    due: impl Iterator<Item = Instant>,
) -> io::Result<Vec<Duration>> {
    let mut message = vec![0; octets];
    due.map(|due| {
        socket.read_exact(&mut message)?;
        Ok(due.elapsed())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_sorted_times() {
        let times = |count| (1..=count).rev().map(Duration::from_nanos).collect();
        assert_eq!(percentiles(times(200)), [101, 191, 199]);
        assert_eq!(percentiles(times(1)), [1, 1, 1]);
    }

    #[test]
    fn what_is_outstanding_is_confirmed() {
        let path = std::env::temp_dir().join(format!("leveret-bare-{}", std::process::id()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let file = Preallocated::new(&path).unwrap();
        let server = thread::spawn(move || sync_all(file, listener.accept().unwrap().0));
        let rate = window(connect(&port).unwrap(), 100, Duration::from_millis(100)).unwrap();
        fs::remove_file(path).unwrap();
        assert!(rate > 0);
        // The last ones may not have been read when the client went.
        let _ = server.join().unwrap();
    }

    #[test]
    fn what_is_on_its_way_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        thread::spawn(move || relay(listener.accept().unwrap().0, 3 * READ));
        let socket = connect(&port).unwrap();
        let rate = round_trips(socket, 3 * READ, 2, Duration::from_millis(100)).unwrap();
        assert!(rate > 0);
    }

    #[test]
    fn what_is_sent_when_due_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let server = thread::spawn(move || echo(listener.accept().unwrap().0));
        let socket = connect(&port).unwrap();
        let times = paced(socket, 3 * READ, Duration::from_millis(1), 10).unwrap();
        assert!(times.is_sorted() && times[0] > 0, "{times:?}");
        assert_eq!(server.join().unwrap().unwrap(), []);
    }
}
