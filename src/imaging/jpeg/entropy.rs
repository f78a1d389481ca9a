//! Whether the scans of a JPEG hold all of its blocks.
//!
//! A decoder that runs out of data, or loses its place after damage, fills the rest with grey and says nothing. So the
//! Huffman codes are walked once without computing any coefficient: each interval between markers must hold the blocks
//! that are due, and no more.
//!
//! Sources: ITU-T T.81, annexes B, C, F and G; libjpeg's jdphuff.c (order of the bits in refinement scans).

use crate::imaging::fault::{Fault, Outcome, damaged};

/// Bits of a code that one look at a table resolves.
const LOOK: u32 = 10;

/// Bytes behind the last block that are taken for an encoder's padding, not for blocks that have lost their place.
const PADDING: usize = 16;

/// Checks the scans of a whole JPEG with Huffman coding: of the stream from its first marker on.
///
/// # Errors
///
/// Scans that end before their last block, hold more than their blocks, or codes that no table has.
pub(super) fn check(bytes: &[u8]) -> Outcome<()> {
    let mut tables = Tables::default();
    let mut frame = None;
    let mut at = 2;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let place = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF));
        let marker = at + place.ok_or(Fault::Truncated)?;
        let kind = bytes[marker + 1];
        at = marker + 2;
        match kind {
            0x01 | 0xD0..=0xD8 => continue,
            0xD9 => return Ok(()),
            _ => {}
        }
        let length = bytes.get(at..at + 2).ok_or(Fault::Truncated)?;
        let end = at + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let content = bytes.get(at + 2..end).ok_or(Fault::Truncated)?;
        at = end;
        match kind {
            0xC0..=0xC2 => frame = Some(Frame::new(content, kind == 0xC2)?),
            0xC4 => tables.define(content)?,
            0xDD => tables.restart = content.first_chunk().map_or(0, |n| usize::from(u16::from_be_bytes(*n))),
            0xDA => {
                let frame = frame.as_mut().ok_or_else(|| broken("a scan before its frame"))?;
                at += Scan::new(content, frame, &tables)?.check(frame, &bytes[at..])?;
            }
            _ => {}
        }
    }
}

fn broken(what: &str) -> Fault {
    Fault::Damaged(format!("JPEG: {what}"))
}

/// A Huffman table, by the codes' first bits.
struct Codes {
    /// By [`LOOK`] bits: the code's length and its symbol; length 0 is a longer code or none.
    look: Vec<(u8, u8)>,
    /// Of each length 1 to 16: the first code that is too large for it, in 16 bits; and what leads from a code to its
    /// symbol.
    limits: [(u32, i32); 17],
    symbols: Vec<u8>,
}

impl Codes {
    /// The canonical codes of `counts[n]` symbols of length n + 1.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Outcome<Self> {
        let mut codes = Codes { look: vec![(0, 0); 1 << LOOK], limits: [(0, 0); 17], symbols: symbols.to_vec() };
        let (mut code, mut first) = (0u32, 0usize);
        for (length, count) in (1u32..).zip(counts) {
            let count = usize::from(*count);
            codes.limits[length as usize].1 = first as i32 - code as i32;
            for symbol in &symbols[first..first + count] {
                if code >= 1 << length {
                    return damaged("JPEG: a table with more codes than there are");
                }
                if length <= LOOK {
                    let from = (code << (LOOK - length)) as usize;
                    codes.look[from..from + (1 << (LOOK - length))].fill((length as u8, *symbol));
                }
                code += 1;
            }
            first += count;
            codes.limits[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Ok(codes)
    }
}

/// What holds for the scans that follow.
#[derive(Default)]
struct Tables {
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    /// MCUs between restart markers; 0 is none.
    restart: usize,
}

impl Tables {
    fn define(&mut self, mut content: &[u8]) -> Outcome<()> {
        while let [head, rest @ ..] = content {
            let counts: &[u8; 16] = rest.first_chunk().ok_or(Fault::Truncated)?;
            let symbols: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + symbols).ok_or(Fault::Truncated)?;
            let kind = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let table = kind.get_mut(usize::from(head & 15)).ok_or_else(|| broken("a fifth Huffman table"))?;
            *table = Some(Codes::new(counts, symbols)?);
            content = &rest[16 + symbols.len()..];
        }
        Ok(())
    }
}

/// A component of the image, in blocks of 8x8.
struct Component {
    id: u8,
    /// Blocks across and down in an MCU of several components.
    sampling: [usize; 2],
    /// Blocks across and down that hold its samples.
    blocks: [usize; 2],
    /// In progressive images, of each block: which coefficients are no longer zero.
    filled: Vec<u64>,
}

struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// MCUs of several components.
    mcus: usize,
}

impl Frame {
    fn new(content: &[u8], progressive: bool) -> Outcome<Self> {
        let [_, h0, h1, w0, w1, count, components @ ..] = content else { return Err(Fault::Truncated) };
        let size = [[*w0, *w1], [*h0, *h1]].map(|side| usize::from(u16::from_be_bytes(side)));
        let components = components.get(..3 * usize::from(*count)).ok_or(Fault::Truncated)?;
        let sampling = |spec: &[u8]| [spec[1] >> 4, spec[1] & 15].map(usize::from);
        if components.chunks(3).any(|spec| sampling(spec).iter().any(|n| !(1..=4).contains(n))) {
            return damaged("JPEG: a sampling factor beyond 1 to 4");
        }
        let most = [0, 1].map(|i| components.chunks(3).map(|spec| sampling(spec)[i]).max().unwrap_or(1));
        let component = |spec: &[u8]| {
            let sampling = sampling(spec);
            let blocks = [0, 1].map(|i| (size[i] * sampling[i]).div_ceil(most[i]).div_ceil(8));
            let filled = if progressive { vec![0; blocks[0] * blocks[1]] } else { Vec::new() };
            Component { id: spec[0], sampling, blocks, filled }
        };
        Ok(Frame {
            progressive,
            components: components.chunks(3).map(component).collect(),
            mcus: [0, 1].map(|i| size[i].div_ceil(8 * most[i])).iter().product(),
        })
    }
}

/// What codes a component's blocks in a scan.
struct Coded<'a> {
    component: usize,
    dc: Option<&'a Codes>,
    ac: Option<&'a Codes>,
}

struct Scan<'a> {
    coded: Vec<Coded<'a>>,
    /// First and last coefficient.
    band: [usize; 2],
    /// Whether it refines coefficients by a bit.
    refines: bool,
    restart: usize,
}

impl<'a> Scan<'a> {
    fn new(content: &[u8], frame: &Frame, tables: &'a Tables) -> Outcome<Self> {
        let [count, content @ ..] = content else { return Err(Fault::Truncated) };
        let (specs, rest) = content.split_at_checked(2 * usize::from(*count)).ok_or(Fault::Truncated)?;
        let [first, last, bits, ..] = rest else { return Err(Fault::Truncated) };
        let coded = |spec: &[u8]| {
            let component = frame.components.iter().position(|component| component.id == spec[0]);
            let table = |tables: &'a [Option<Codes>; 4], i: u8| tables.get(usize::from(i)).and_then(Option::as_ref);
            Ok(Coded {
                component: component.ok_or_else(|| broken("a scan of a component that does not exist"))?,
                dc: table(&tables.dc, spec[1] >> 4),
                ac: table(&tables.ac, spec[1] & 15),
            })
        };
        let coded: Vec<Coded> = specs.chunks(2).map(coded).collect::<Outcome<_>>()?;
        let band = if frame.progressive { [*first, *last].map(usize::from) } else { [0, 63] };
        let possible = !coded.is_empty()
            && band[0] <= band[1]
            && band[1] < 64
            && (!frame.progressive || (band[0] == 0) == (band[1] == 0))
            && (band[0] == 0 || coded.len() == 1);
        if !possible {
            return damaged("JPEG: a scan of impossible coefficients");
        }
        Ok(Scan { coded, band, refines: frame.progressive && bits >> 4 > 0, restart: tables.restart })
    }

    /// Walks the scan at the start of `bytes`; its length.
    fn check(&self, frame: &mut Frame, bytes: &[u8]) -> Outcome<usize> {
        let mut bits = Bits { bytes, at: 0, held: 0, count: 0 };
        let alone = self.coded.len() == 1;
        let mcus = if alone { frame.components[self.coded[0].component].blocks.iter().product() } else { frame.mcus };
        // Blocks in a row without coefficients, in this band.
        let mut ended = 0;
        for mcu in 0..mcus {
            if self.restart > 0 && mcu > 0 && mcu % self.restart == 0 {
                bits.restart()?;
                ended = 0;
            }
            for coded in &self.coded {
                let component = &mut frame.components[coded.component];
                for _ in 0..if alone { 1 } else { component.sampling.iter().product() } {
                    if !frame.progressive {
                        sequential(&mut bits, coded)?;
                    } else if self.band[0] > 0 {
                        let filled = &mut component.filled[mcu];
                        self.band_of_block(&mut bits, coded, filled, &mut ended)?;
                    } else if self.refines {
                        bits.skip(1)?;
                    } else {
                        let size = bits.symbol(coded.dc)?;
                        bits.skip(size.into())?;
                    }
                }
            }
        }
        bits.end()
    }

    /// The coefficients of a block in a scan of a progressive image.
    fn band_of_block(&self, bits: &mut Bits, coded: &Coded, filled: &mut u64, ended: &mut u32) -> Outcome<()> {
        let [mut k, last] = self.band;
        while *ended == 0 && k <= last {
            let symbol = bits.symbol(coded.ac)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                *ended = (1 << zeros) + bits.take(zeros.into())?;
                break;
            }
            bits.skip(size.into())?;
            // Zeros are passed over; in a refinement, coefficients that are there already have a bit each.
            while k <= last {
                if self.refines && *filled >> k & 1 == 1 {
                    bits.skip(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if size > 0 {
                if k > last {
                    return Err(broken("a coefficient beyond its block"));
                }
                *filled |= 1 << k;
            }
            k += 1;
        }
        if *ended > 0 {
            if self.refines && k <= last {
                let rest = *filled >> k << k & (u64::MAX >> (63 - last));
                bits.skip(rest.count_ones())?;
            }
            *ended -= 1;
        }
        Ok(())
    }
}

/// The coefficients of a block of a sequential image.
fn sequential(bits: &mut Bits, coded: &Coded) -> Outcome<()> {
    let size = bits.symbol(coded.dc)?;
    bits.skip(size.into())?;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(coded.ac)?;
        let (zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 && zeros < 15 {
            return Ok(());
        }
        bits.skip(size.into())?;
        k += 1 + u32::from(zeros);
    }
    if k > 64 { Err(broken("a coefficient beyond its block")) } else { Ok(()) }
}

/// The bits of a scan up to its next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that were read and not used, at the low end.
    held: u64,
    count: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.bytes.get(self.at) else { return };
            if *byte == 0xFF {
                // A marker, or a byte of data that must not look like one.
                if self.bytes.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.held = self.held << 8 | u64::from(*byte);
            self.count += 8;
        }
    }

    fn take(&mut self, bits: u32) -> Outcome<u32> {
        self.skip(bits)?;
        Ok((self.held >> self.count) as u32 & ((1 << bits) - 1))
    }

    fn skip(&mut self, bits: u32) -> Outcome<()> {
        if self.count < bits {
            self.fill();
        }
        // More than are held at once are those of a long run of coefficients, one at a time.
        if bits > 32 {
            return self.skip(32).and_then(|()| self.skip(bits - 32));
        }
        self.count = self.count.checked_sub(bits).ok_or_else(|| broken("data end before the last block"))?;
        Ok(())
    }

    fn symbol(&mut self, codes: Option<&Codes>) -> Outcome<u8> {
        let codes = codes.ok_or_else(|| broken("a scan without its Huffman table"))?;
        if self.count < 16 {
            self.fill();
        }
        // Zeros stand for bits that are missing; a code that uses them is found by its length.
        let next = if self.count >= 16 { self.held >> (self.count - 16) } else { self.held << (16 - self.count) };
        let next = next as u32 & 0xFFFF;
        let (mut length, mut symbol) = codes.look[(next >> (16 - LOOK)) as usize];
        if length == 0 {
            let longer = (LOOK + 1..=16).find(|length| next < codes.limits[*length as usize].0);
            let longer = longer.ok_or_else(|| broken("a code that is in no table"))?;
            let index = (next >> (16 - longer)) as i32 + codes.limits[longer as usize].1;
            length = longer as u8;
            symbol = *codes.symbols.get(index as usize).ok_or_else(|| broken("a code that is in no table"))?;
        }
        self.skip(length.into())?;
        Ok(symbol)
    }

    /// Passes a restart marker, which must come next.
    fn restart(&mut self) -> Outcome<()> {
        self.end()?;
        // Fill bytes may come before it.
        while self.bytes.get(self.at + 1) == Some(&0xFF) {
            self.at += 1;
        }
        match self.bytes.get(self.at..self.at + 2) {
            Some([0xFF, 0xD0..=0xD7]) => self.at += 2,
            _ => return Err(broken("a restart marker is missing")),
        }
        (self.held, self.count) = (0, 0);
        Ok(())
    }

    /// Goes on to the next marker; where it is.
    fn end(&mut self) -> Outcome<usize> {
        let held = self.count as usize / 8;
        let left = &self.bytes[self.at..];
        let marker = left.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0).ok_or(Fault::Truncated)?;
        if held + marker > PADDING {
            return Err(broken("data go on behind the last block"));
        }
        self.at += marker;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by libjpeg: sequential and progressive, chroma of each resolution, grey and inks.
    const FILES: [&str; 7] =
        ["grey", "ycbcr-444", "ycbcr-422", "ycbcr-420", "progressive-420", "cmyk", "progressive-restart"];

    fn file(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/images/{name}.jpg", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Where the data of the last scan begin.
    fn last_scan(bytes: &[u8]) -> usize {
        bytes.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap() + 14
    }

    #[test]
    fn whole_files_hold_their_blocks() {
        for name in FILES {
            assert!(check(&file(name)).is_ok(), "{name}: {:?}", check(&file(name)));
        }
    }

    #[test]
    fn lost_data_are_found_although_markers_are_in_order() {
        for name in FILES {
            let bytes = file(name);
            let first = last_scan(&bytes);
            let data = bytes.len() - 2 - first;
            for cut in [first + data / 4, first + data / 2, bytes.len() - 2 - data / 8] {
                // The rest is missing, but for the marker of its end.
                let short = [&bytes[..cut], &[0, 0xFF, 0xD9]].concat();
                assert!(check(&short).is_err(), "{name}: {data} bytes cut at {}", cut - first);
            }
        }
    }

    #[test]
    fn data_that_belong_to_no_block_are_found() {
        let bytes = file("ycbcr-420");
        let end = bytes.len() - 2;
        let behind = |n: usize| [&bytes[..end], &vec![0x55; n], &bytes[end..]].concat();
        assert!(check(&behind(PADDING)).is_ok());
        assert!(check(&behind(PADDING + 1)).is_err());
    }

    #[test]
    fn codes_are_canonical_and_no_more_than_there_are() {
        // Lengths 1, 2, 11, 11: 0, 10, 11000000000, 11000000001.
        let mut counts = [0; 16];
        (counts[0], counts[1], counts[10]) = (1, 1, 2);
        let codes = Codes::new(&counts, &[7, 8, 9, 10]).unwrap();
        // Then ones, with the zeros that keep them from being markers.
        let bytes = [0b0101_1000, 0b0000_0011, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];
        let mut bits = Bits { bytes: &bytes, at: 0, held: 0, count: 0 };
        let symbols: Vec<u8> = (0..4).map(|_| bits.symbol(Some(&codes)).unwrap()).collect();
        assert_eq!(symbols, [7, 8, 9, 10]);
        assert!(bits.symbol(Some(&codes)).is_err(), "no code begins with ones only");
        counts[0] = 3;
        assert!(Codes::new(&counts, &[0; 6]).is_err());
    }
}
