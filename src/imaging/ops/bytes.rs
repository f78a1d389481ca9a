//! Values of images of 8 bits, which go to a GPU as bytes.

use crate::engine::device::{AnyKernel, Args, Body, Device, Kernel, Plan, kernel_text};
use crate::engine::tensor::Tensor;
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// The kernels of this file.
pub const KERNELS: &[&dyn AnyKernel] = &[&BYTES];

/// Values that are looked at together: most floats are no bytes within the first few.
const BLOCK: usize = 4096;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    len: u32,
}

static BYTES: Kernel<Params> = Kernel {
    name: "bytes",
    bodies: &[Body::proved(kernel_text!("bytes"), &|p, _| Plan::linear(p.len as usize).each(3.0))],
    twin: &bytes_twin,
};

fn bytes_twin(_: &Params, args: Args) -> Result<()> {
    let ([words], [], [y]) = args.split()?;
    let bytes = words.iter().flat_map(|word| word.to_bits().to_le_bytes());
    y.iter_mut().zip(bytes).for_each(|(y, byte)| *y = value(byte));
    Ok(())
}

/// The value of a byte, 0..1.
fn value(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// The bytes of values that are all `b / 255`, to the last bit.
fn bytes_of(values: &[f32]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; values.len()];
    // A training has its whole batch looked at before each update, while the GPU waits.
    let all = bytes.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK)).all(|(bytes, values)| narrow(values, bytes));
    all.then_some(bytes)
}

/// Writes the byte nearest to each value; whether all are values of bytes, to the last bit.
fn narrow(values: &[f32], bytes: &mut [u8]) -> bool {
    // Bits gathered, not answers: that is compiled to vectors.
    let mut different = 0;
    for (v, byte) in values.iter().zip(bytes) {
        // What is below 0, above 255 or NaN becomes another number, whose value is not the same.
        let nearest = (v * 255.0 + 0.5) as i32 & 255;
        different |= v.to_bits() ^ (nearest as f32 / 255.0).to_bits();
        *byte = nearest as u8;
    }
    different == 0
}

/// A copy of `values` on the device. Values of images of 8 bits, all `b / 255`, go to a GPU as bytes, a quarter of what
/// they take there; the tensor has the same bits.
///
/// # Errors
/// Values of another size than `shape`, zero elements, or no memory for them.
pub fn upload(device: &Device, shape: &[usize], values: &[f32]) -> Result<Tensor> {
    match if device.is_gpu() { bytes_of(values) } else { None } {
        Some(bytes) => widened(device, shape, bytes),
        None => Tensor::new(device, shape, values),
    }
}

fn widened(device: &Device, shape: &[usize], mut bytes: Vec<u8>) -> Result<Tensor> {
    let count = bytes.len();
    bytes.resize(count.next_multiple_of(4), 0);
    let words: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|word| f32::from_bits(u32::from_le_bytes(*word))).collect();
    let words = Tensor::new(device, &[words.len()], &words)?;
    let y = Tensor::empty(device, shape)?;
    crate::ensure!(
        y.len() == count,
        Error::input(format!("{count} values do not fill a tensor"), format!("{shape:?}"), "pass as many as it has")
            .of(ErrorKind::Shape)
    );
    device.launch(&BYTES, &Params { len: y.len() as u32 }, &[&words], &[], &[&y])?;
    Ok(y)
}

/// A small run of every kernel here.
///
/// # Errors
/// Whatever a launch reports.
pub fn self_test(device: &Device) -> Result<Vec<Tensor>> {
    Ok(vec![widened(device, &[5, 51], (0..255).collect())?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::DeviceChoice;
    use crate::engine::testing::check::devices;

    #[test]
    fn bytes_come_out_with_the_bits_of_their_values() {
        let all: Vec<u8> = (0..=255).chain(0..3).collect();
        let expected: Vec<f32> = all.iter().map(|&byte| value(byte)).collect();
        for device in devices() {
            let y = widened(&device, &[7, 37], all.clone()).unwrap().to_vec().unwrap();
            assert!(y.iter().zip(&expected).all(|(y, v)| y.to_bits() == v.to_bits()), "{}: {y:?}", device.name());
        }
        // Devices of their own, whose new buffers hold nothing yet.
        for device in devices().iter().filter(|device| device.is_gpu()).map(|_| Device::open(&DeviceChoice::Gpu)) {
            let device = device.unwrap();
            let y = upload(&device, &[7, 37], &expected).unwrap();
            assert!(y.to_vec().unwrap() == expected && y.shape() == [7, 37], "{}", device.name());
            assert_eq!(device.host_work().uploaded_bytes, 260);
            assert_eq!(upload(&device, &[7, 36], &expected).unwrap_err().kind(), ErrorKind::Shape);
        }
    }

    #[test]
    fn what_is_no_byte_goes_as_it_is() {
        assert_eq!(bytes_of(&[0.0, 1.0, 77.0 / 255.0]), Some(vec![0, 255, 77]));
        for odd in [-0.0, 0.5, 1.1, -1.0 / 255.0, 256.0 / 255.0, f32::NAN, f32::INFINITY, f32::from_bits(0x3f7f_ffff)] {
            assert_eq!(bytes_of(&[1.0, odd]), None, "{odd}");
            for device in devices() {
                let y = upload(&device, &[1, 2], &[1.0, odd]).unwrap().to_vec().unwrap();
                assert_eq!(y[1].to_bits(), odd.to_bits(), "{}", device.name());
            }
        }
    }
}
