//! The writer with outputs that are slow, gone or full.

use std::{
    io::Read,
    os::unix::net::UnixStream,
    sync::Mutex,
    time::{Duration, Instant},
};

use reuse_model::report::{LostEvent, RecordBody};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn record(number: u64) -> Record {
    Record {
        schema: 1,
        r#type: "lost",
        time: "2026-11-24T08:12:15.123456Z".to_owned(),
        boottime_ns: number,
        body: RecordBody::Lost(LostEvent { stage: "ring_call".to_owned(), lost: number }),
    }
}

/// Waits until the writer has counted so many losses.
fn await_lost(writer: &EventWriter, lost: u64) {
    let began = Instant::now();
    while writer.lost() != lost {
        assert!(began.elapsed() < PATIENCE, "{} lost, not {lost}", writer.lost());
        thread::yield_now();
    }
}

/// A file in memory that refuses what is beyond its size until it is made larger.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn with_room(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), bytes))))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").0.clone()).expect("text")
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut guard = self.0.lock().expect("no panic");
        let (content, size) = &mut *guard;
        let room = size.saturating_sub(content.len()).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.extend(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn each_record_is_a_line_of_json_in_order() {
    let disk = Disk::with_room(usize::MAX);
    let writer = EventWriter::start(EventFormat::Json, false, disk.clone()).expect("a thread");
    (0..1_000).for_each(|number| writer.send(record(number)));
    assert_eq!(writer.lost(), 0);
    writer.finish(PATIENCE);
    let lines: Vec<serde_json::Value> =
        disk.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 1_000);
    assert!(lines.iter().zip(0..).all(|(line, number)| line["lost"] == number && line["schema"] == 1));
}

#[test]
fn text_is_a_sentence() {
    let disk = Disk::with_room(usize::MAX);
    let writer = EventWriter::start(EventFormat::Text, false, disk.clone()).expect("a thread");
    writer.send(record(3));
    writer.finish(PATIENCE);
    assert!(disk.text().ends_with(" 3 events lost at stage ring_call\n"), "{}", disk.text());
}

#[test]
fn a_reader_that_stops_reading_costs_records_not_time() {
    let (here, mut there) = UnixStream::pair().expect("a pair");
    let writer = EventWriter::start(EventFormat::Json, false, here).expect("a thread");
    let began = Instant::now();
    let sent = 50_000;
    (0..sent).for_each(|number| writer.send(record(number)));
    assert!(began.elapsed() < PATIENCE, "sending waited for the reader");
    let lost = writer.lost();
    assert!(lost > 0, "50,000 records fit into a socket buffer");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        there.read_to_string(&mut text).map(|_| text.lines().count() as u64)
    });
    writer.finish(PATIENCE);
    assert_eq!(reader.join().expect("no panic").expect("reads") + lost, sent, "written and lost make all");
}

#[test]
fn a_reader_that_is_gone_is_survived_and_counted() {
    let (here, there) = UnixStream::pair().expect("a pair");
    drop(there);
    let writer = EventWriter::start(EventFormat::Json, false, here).expect("a thread");
    for number in 0..3 {
        writer.send(record(number));
        await_lost(&writer, number + 1);
    }
    writer.finish(PATIENCE);
}

#[test]
fn a_full_disk_leaves_whole_lines_once_there_is_room() {
    let line = serde_json::to_string(&record(0)).expect("JSON").len() + 1;
    let disk = Disk::with_room(line + line / 2);
    let writer = EventWriter::start(EventFormat::Json, false, disk.clone()).expect("a thread");
    (0..3).for_each(|number| writer.send(record(number)));
    await_lost(&writer, 2);
    disk.0.lock().expect("no panic").1 = usize::MAX;
    writer.send(record(3));
    writer.finish(PATIENCE);
    let text = disk.text();
    let whole: Vec<u64> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["lost"].as_u64())
        .collect();
    assert_eq!(whole, [0, 3], "{text}");
}

#[test]
fn a_reader_that_hangs_does_not_keep_the_daemon_from_ending() {
    let (here, _there) = UnixStream::pair().expect("a pair");
    let writer = EventWriter::start(EventFormat::Json, false, here).expect("a thread");
    (0..50_000).for_each(|number| writer.send(record(number)));
    let began = Instant::now();
    writer.finish(Duration::from_millis(100));
    assert!(began.elapsed() < PATIENCE / 2, "waited {:?}", began.elapsed());
}
