//! Whether a JPEG stream is whole.

/// Whether the segments of a JPEG run up to its end-of-image marker.
///
/// Decoders fill what is missing with grey and say nothing. Looking for the marker in the last two bytes would not do:
/// cameras append data, and an embedded thumbnail has a marker of its own.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    // The next marker: 0xFF and a byte that is neither stuffing (00), fill (FF) nor a restart marker (D0..D7).
    while let Some(offset) = bytes[at.min(bytes.len())..]
        .windows(2)
        .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF | 0xD0..=0xD7))
    {
        let marker = bytes[at + offset + 1];
        at += offset + 2;
        match marker {
            0xD9 => return true,
            0x01 | 0xD8 => {}
            _ => match bytes.get(at..at + 2) {
                Some(length) => at += usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_marker_within_a_segment_is_not_the_end() {
        // A comment that holds an end marker, then a scan with a stuffed byte and a restart marker.
        let start = [0xFF, 0xD8, 0xFF, 0xFE, 0, 4, 0xFF, 0xD9];
        let scan = [0xFF, 0xDA, 0, 2, 0x12, 0xFF, 0x00, 0xFF, 0xD0, 0x34];
        let whole = [&start[..], &scan, &[0xFF, 0xD9]].concat();
        assert!(is_whole(&whole));
        assert!(is_whole(&[&whole[..], b"appended"].concat()));
        assert!((0..whole.len()).all(|end| !is_whole(&whole[..end])));
    }
}
