//! A server whose two threads share one device and one network. A request's body is an image; the answer is a PNG of
//! its colours.
//!
//! ```text
//! cargo run --release --example embed_in_a_server -- runs/first
//! ```
//!
//! It asks itself twice at once, and ends. Without a run the network has random weights.

use huetape::engine::device::{Device, DeviceChoice};
use huetape::imaging::codec::save::{encode_png, predicted_by, to_u8};
use huetape::imaging::color::Bins;
use huetape::imaging::pixels::Pixels;
use huetape::networks::classifier::network::Classifier;
use huetape::networks::window8::network::ARCHITECTURE;
use huetape::paint::colorizer::Colorizer;
use huetape::paint::painter::Look;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    // A GPU where there is one, else the CPU; HUETAPE_DEVICE=cpu decides.
    let device = Device::open(&DeviceChoice::from_flag_or_env(None)?)?;
    let colorizer = match std::env::args_os().nth(1) {
        Some(run) => Colorizer::open_run(&device, run)?,
        None => untrained(&device)?,
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let servers = [(); 2].map(|()| scope.spawn(|| serve(&listener, &colorizer)));
        let clients = [40, 64].map(|side| scope.spawn(move || ask(address, side)));
        for client in clients {
            println!("{}", client.join().expect("a client panicked")?);
        }
        servers.into_iter().try_for_each(|server| server.join().expect("a server panicked"))
    })
}

/// Answers one request; a real server would loop.
fn serve(listener: &TcpListener, colorizer: &Colorizer) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    let (head, body) = match read_message(&mut stream).and_then(|body| coloured(colorizer, &body)) {
        Ok(png) => ("200 OK\r\nContent-Type: image/png", png),
        Err(error) => ("400 Bad Request\r\nContent-Type: text/plain", error.to_string().into_bytes()),
    };
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    Ok(stream.write_all(&body)?)
}

/// An image file's bytes through the network: grey values 0..1 in, colours 0..1 out.
fn coloured(colorizer: &Colorizer, file: &[u8]) -> Result<Vec<u8>> {
    let grey = image::load_from_memory(file)?.to_luma32f();
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let source = Pixels { width, height, bands: 1, values: grey.into_raw() };
    let colours = colorizer.paint(&source, &Look::default())?;
    Ok(encode_png(&to_u8(&colours.values), width, height, Some(&predicted_by(colorizer.model()))))
}

/// Sends a grey ramp and says what came back.
fn ask(address: SocketAddr, side: usize) -> Result<String> {
    let ramp: Vec<u8> = (0..side * side).map(|i| (i % side * 255 / side) as u8).collect();
    let body = encode_png(&ramp, side, side, None);
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body)?;
    let answer = image::load_from_memory(&read_message(&mut stream)?)?;
    Ok(format!("{side}x{side} pixels sent, {}x{} of {:?} received", answer.width(), answer.height(), answer.color()))
}

/// The body of an HTTP message whose head says how long it is.
fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
        line.clear();
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(body)
}

/// A small network that has learned nothing.
fn untrained(device: &Device) -> Result<Colorizer> {
    let bins = Bins::lattice(9);
    let classifier = Classifier::new(device, &ARCHITECTURE, 1.0, &bins, vec![1.0 / 9.0; 9], 1, false)?;
    Ok(Colorizer::new(Box::new(classifier)))
}
