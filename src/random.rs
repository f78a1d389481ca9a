//! Philox 4x32-10, the one source of random numbers.
//!
//! Counter-based: every value is a pure function of (seed, stream, step, index), so there is no generator state to keep
//! with a checkpoint, and a kernel on the GPU draws the same numbers as its twin. Source: Salmon, Moraes, Dror, Shaw,
//! "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

/// What a random number is drawn for. Two draws for different purposes never share a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Initial weights; `step` is the parameter's number.
    Init = 1,
    /// Order of the files; `step` is the epoch.
    Shuffle = 2,
    /// Crop origins and flips; `step` is the training step.
    Augment = 3,
    /// Choice of pixels and starting centres for K-means.
    Bins = 4,
    /// Synthetic scenes; `step` is the scene's number.
    Scene = 5,
    /// Speckle of synthetic scenes.
    Speckle = 6,
    /// Dropout masks.
    Dropout = 7,
    /// Additive noise on a discriminator's input.
    Noise = 8,
    /// Slopes of a randomised leaky ReLU.
    Slope = 9,
    /// Noisy labels.
    Label = 10,
    /// Origins of fixed patches; `step` is the picture's number.
    Patches = 11,
    /// Points that a homography is tried on; `step` is the number of the try.
    Consensus = 12,
    /// Samples of a bootstrap; `step` is the sample's number.
    Bootstrap = 13,
    /// Whatever a test wants.
    Test = 99,
}

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// One Philox 4x32-10 block: ten rounds over `counter` under `key`.
#[inline]
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
        }
        let p0 = u64::from(M0) * u64::from(counter[0]);
        let p1 = u64::from(M1) * u64::from(counter[2]);
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ key[1], p0 as u32];
    }
    counter
}

/// A view on the generator at one (seed, stream, step): index it to draw.
#[derive(Debug, Clone, Copy)]
pub struct Rng {
    key: [u32; 2],
    stream: u32,
    step: u32,
}

impl Rng {
    /// The numbers of `stream` at `step` under `seed`.
    pub fn new(seed: u64, stream: Stream, step: u32) -> Self {
        Rng { key: [seed as u32, (seed >> 32) as u32], stream: stream as u32, step }
    }

    /// The four words of block `index`.
    #[inline]
    pub fn block(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.step, self.stream], self.key)
    }

    /// Word `index`, uniform over all 32-bit values.
    #[inline]
    pub fn word(&self, index: u64) -> u32 {
        self.block(index / 4)[(index % 4) as usize]
    }

    /// Uniform in [0, 1), a multiple of 2^-24.
    #[inline]
    pub fn uniform(&self, index: u64) -> f32 {
        unit(self.word(index))
    }

    /// Standard normal by Box-Muller; values `2i` and `2i + 1` come from words `2i` and `2i + 1`.
    #[inline]
    pub fn normal(&self, index: u64) -> f32 {
        let block = self.block(index / 4);
        let pair = if index % 4 < 2 { [block[0], block[1]] } else { [block[2], block[3]] };
        let (first, second) = box_muller(pair);
        if index.is_multiple_of(2) { first } else { second }
    }

    /// An integer in `0..n` (n >= 1) by multiply-shift; the bias is below n / 2^32.
    #[inline]
    pub fn below(&self, index: u64, n: usize) -> usize {
        ((u64::from(self.word(index)) * n as u64) >> 32) as usize
    }

    /// A permutation of `0..n` (Fisher-Yates).
    pub fn permutation(&self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64, i + 1));
        }
        order
    }
}

/// 24 high bits of a word as a float in [0, 1).
#[inline]
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Two standard normals from two words.
#[inline]
pub fn box_muller(words: [u32; 2]) -> (f32, f32) {
    // 1 - u lies in (0, 1], so that the logarithm is finite.
    let radius = (-2.0 * (1.0 - unit(words[0])).ln()).sqrt();
    let (sin, cos) = (std::f32::consts::TAU * unit(words[1])).sin_cos();
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    /// Known answers of the authors' Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_matches_the_published_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let rng = Rng::new(7, Stream::Test, 3);
        let n = 100_000;
        let (mut mean_u, mut mean_n, mut var_n) = (0.0, 0.0, 0.0);
        for i in 0..n {
            mean_u += f64::from(rng.uniform(i));
            let z = f64::from(rng.normal(i));
            mean_n += z;
            var_n += z * z;
        }
        let n = n as f64;
        // Five standard errors of each estimate.
        assert_abs_diff_eq!(mean_u / n, 0.5, epsilon = 5.0 * (1.0 / 12.0f64).sqrt() / n.sqrt());
        assert!((mean_n / n).abs() < 5.0 / n.sqrt());
        assert_abs_diff_eq!(var_n / n, 1.0, epsilon = 5.0 * 2.0f64.sqrt() / n.sqrt());
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Rng::new(1, Stream::Shuffle, 0).permutation(101);
        assert_ne!(order, (0..101).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..101).collect::<Vec<_>>());
    }
}
