//! Random draws in sequence, and smooth random fields.

use crate::random::{Rng, unit};

/// Draws one number after the other from a stream.
#[derive(Debug, Clone)]
pub struct Draws {
    rng: Rng,
    next: u64,
}

impl Draws {
    /// The draws of part `part` (1 to 15) of a stream: 2^60 numbers each, far from those of [`hashed`].
    pub fn new(rng: Rng, part: u64) -> Self {
        Draws { rng, next: part << 60 }
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        self.next += 1;
        low + (high - low) * self.rng.uniform(self.next - 1)
    }
}

/// Four numbers in [0, 1) that belong to a key, always the same ones.
pub fn hashed(rng: &Rng, salt: u32, key: u32) -> [f32; 4] {
    rng.block(u64::from(salt) << 32 | u64::from(key)).map(unit)
}

/// Fractal value noise: octaves of random lattices, each of half the wavelength and half the amplitude.
#[derive(Debug, Clone)]
pub struct Fractal {
    octaves: Vec<Lattice>,
}

#[derive(Debug, Clone)]
struct Lattice {
    values: Vec<f32>,
    side: usize,
    /// Lattice points per pixel.
    frequency: f32,
}

impl Fractal {
    /// A field over `0..size` in both directions whose coarsest features are `wavelength` pixels wide.
    pub fn new(draws: &mut Draws, size: usize, wavelength: f32, octaves: usize) -> Self {
        let lattice = |octave: usize, draws: &mut Draws| {
            let frequency = (1 << octave) as f32 / wavelength;
            let side = (size as f32 * frequency) as usize + 2;
            Lattice { values: (0..side * side).map(|_| draws.between(-1.0, 1.0)).collect(), side, frequency }
        };
        Fractal { octaves: (0..octaves).map(|octave| lattice(octave, draws)).collect() }
    }

    /// The field at a pixel, about -1..1 with a mean of 0; positions outside take the border's lattice cell.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let mut amplitude = 1.0;
        let mut sum = 0.0;
        for lattice in &self.octaves {
            sum += amplitude * lattice.at(x, y);
            amplitude *= 0.5;
        }
        sum
    }
}

impl Lattice {
    fn at(&self, x: f32, y: f32) -> f32 {
        let place = |v: f32| {
            let v = (v * self.frequency).clamp(0.0, self.side as f32 - 1.001);
            let t = v.fract();
            // Smoothstep hides the lattice.
            (v as usize, t * t * (3.0 - 2.0 * t))
        };
        let ((i, tx), (j, ty)) = (place(x), place(y));
        let row = |j: usize| {
            let (left, right) = (self.values[j * self.side + i], self.values[j * self.side + i + 1]);
            left + (right - left) * tx
        };
        let (top, bottom) = (row(j), row(j + 1));
        top + (bottom - top) * ty
    }
}

/// Blurs `[size, size]` by (1 2 1) / 4 both ways, a sensor's point spread; borders are repeated.
pub fn blur(values: &mut [f32], size: usize) {
    let mut line = vec![0.0; size];
    let mut pass = |start: usize, stride: usize, values: &mut [f32]| {
        for (i, blurred) in line.iter_mut().enumerate() {
            let at = |i: usize| values[start + i * stride];
            *blurred = 0.25 * at(i.saturating_sub(1)) + 0.5 * at(i) + 0.25 * at((i + 1).min(size - 1));
        }
        for (i, value) in line.iter().enumerate() {
            values[start + i * stride] = *value;
        }
    };
    for i in 0..size {
        pass(i * size, 1, values);
    }
    for i in 0..size {
        pass(i, size, values);
    }
}
