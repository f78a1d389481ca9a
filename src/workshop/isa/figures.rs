//! What a compiled kernel takes of a GPU, and whether that is more than it was.

use crate::error::{Error, ErrorKind, Result};
use crate::files::io_error;
use crate::workshop::isa::listing::{MainLoop, main_loop};
use crate::workshop::isa::reply::Compiled;
use crate::workshop::isa::unit::Unit;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How much worse the driver's estimate of the time may become: as a factor, by the same version of the driver and by
/// another.
const SLOWER: [f64; 2] = [1.05, 1.25];

/// An entry point, compiled for a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The GPU, as Mesa calls it.
    pub gpu: String,
    /// Name of the kernel.
    pub kernel: String,
    /// Name of the body, the first where several share the entry point.
    pub body: String,
    /// Name of the entry point.
    pub entry: String,
    /// Values of its constants; empty where the text's own hold.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub constants: String,
    /// Version of the driver.
    pub driver: String,
    /// Invocations of a subgroup.
    pub subgroup_size: u64,
    /// Vector registers of an invocation.
    pub vgprs: u64,
    /// Scalar registers of a subgroup.
    pub sgprs: u64,
    /// Vector registers that are kept in memory, for want of registers.
    pub spilled_vgprs: u64,
    /// Scalar registers that are kept elsewhere.
    pub spilled_sgprs: u64,
    /// Bytes of private memory of a subgroup: spills, and arrays that are indexed by what is computed.
    pub scratch_bytes: u64,
    /// Bytes of workgroup memory.
    pub lds_bytes: u64,
    /// Bytes of code.
    pub code_bytes: u64,
    /// Subgroups that fit on a SIMD at a time, which is what hides the latency of memory.
    pub subgroups_per_simd: u64,
    /// Instructions of the code.
    pub instructions: u64,
    /// The driver's estimate: cycles from the first instruction of a subgroup to its last, loops counted a few times.
    pub latency: u64,
    /// The driver's estimate: cycles that a subgroup keeps its SIMD busy.
    pub inverse_throughput: u64,
    /// The loop that multiplies most; `None` where there is none, or no disassembler.
    pub main_loop: Option<MainLoop>,
}

impl Figures {
    /// The figures of a unit from what the driver told.
    ///
    /// # Errors
    /// A driver that does not tell one of them.
    pub fn new(gpu: &str, driver: &str, unit: &Unit, compiled: &Compiled) -> Result<Figures> {
        let told = |name: &str| {
            let found = compiled.statistics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
            found.ok_or_else(|| {
                let what = format!("the driver does not tell `{name}`");
                Error::failed(what, format!("{gpu}, {driver}"), "use Mesa 22.3 or later").of(ErrorKind::Device)
            })
        };
        Ok(Figures {
            gpu: gpu.to_owned(),
            kernel: unit.kernel.clone(),
            body: unit.body.clone(),
            entry: unit.entry.clone(),
            constants: unit.constants.clone(),
            driver: driver.to_owned(),
            subgroup_size: u64::from(compiled.subgroup_size),
            vgprs: told("VGPRs")?,
            sgprs: told("SGPRs")?,
            spilled_vgprs: told("Spilled VGPRs")?,
            spilled_sgprs: told("Spilled SGPRs")?,
            scratch_bytes: told("Scratch size")?,
            lds_bytes: told("LDS size")?,
            code_bytes: told("Code size")?,
            subgroups_per_simd: told("Subgroups per SIMD")?,
            instructions: told("Instructions")?,
            latency: told("Latency")?,
            inverse_throughput: told("Inverse Throughput")?,
            main_loop: main_loop(&compiled.assembly),
        })
    }

    /// `conv2d/quads/total for navi21`.
    pub fn name(&self) -> String {
        let Figures { gpu, kernel, body, entry, constants, .. } = self;
        let entry = if body == entry { String::new() } else { format!("/{entry}") };
        let constants = if constants.is_empty() { String::new() } else { format!(" with {constants}") };
        format!("{kernel}/{body}{entry}{constants} for {gpu}")
    }

    fn key(&self) -> [&str; 5] {
        [&self.gpu, &self.kernel, &self.body, &self.entry, &self.constants]
    }

    /// Whether registers or arrays lie in memory.
    pub fn spills(&self) -> bool {
        self.spilled_vgprs + self.spilled_sgprs + self.scratch_bytes > 0
    }

    /// What makes it worse than nothing spilled and than it was, in words; empty where it is as good. Spills and
    /// subgroups are judged strictly, the driver's estimate of the time loosely, by another version of the driver more
    /// so.
    pub fn complaints(&self, before: Option<&Figures>) -> Vec<String> {
        let mut all = Vec::new();
        let at = self.name();
        if self.spills() {
            let Figures { spilled_vgprs, spilled_sgprs, scratch_bytes, .. } = self;
            all.push(format!(
                "{at} spills: {spilled_vgprs} VGPRs, {spilled_sgprs} SGPRs, {scratch_bytes} bytes of private memory"
            ));
        }
        let Some(before) = before else { return all };
        let (now, then) = (self.subgroups_per_simd, before.subgroups_per_simd);
        if now < then {
            all.push(format!("{at} falls from {then} to {now} subgroups a SIMD"));
        }
        let (now, then) = (self.inverse_throughput, before.inverse_throughput);
        if now as f64 > SLOWER[usize::from(self.driver != before.driver)] * then as f64 {
            all.push(format!("{at} keeps a SIMD busy for {now} cycles, where it was {then}"));
        }
        all
    }
}

/// Figures by which later ones are judged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Baseline {
    /// An entry point and a GPU each.
    pub figures: Vec<Figures>,
}

impl Baseline {
    /// As JSON, an entry point and a GPU a line.
    pub fn text(figures: &[Figures]) -> String {
        // A struct of numbers and texts can always be written.
        let line = |figures| serde_json::to_string(figures).unwrap_or_default();
        let lines: Vec<String> = figures.iter().map(|figures| format!("  {}", line(figures))).collect();
        format!("{{\"figures\": [\n{}\n]}}\n", lines.join(",\n"))
    }

    /// Reads what `huetape kernels isa` wrote as JSON.
    ///
    /// # Errors
    /// A file that is not there, or holds something else.
    pub fn read(path: &Path) -> Result<Baseline> {
        let text = std::fs::read_to_string(path).map_err(|error| io_error("cannot read", path, &error))?;
        serde_json::from_str(&text).map_err(|error| {
            let what = format!("not figures of compiled kernels ({error})");
            let remedy = "give a file that `huetape kernels isa` wrote as JSON";
            Error::input(what, path.display(), remedy).of(ErrorKind::File).caused_by(error)
        })
    }

    /// The figures of an entry point and GPU.
    pub fn find(&self, of: &Figures) -> Option<&Figures> {
        self.figures.iter().find(|known| known.key() == of.key())
    }

    /// Everything in which `now` is worse. An entry point of a kernel that this knows, but for another GPU or by
    /// another name, is a complaint too.
    pub fn complaints(&self, now: &[Figures]) -> Vec<String> {
        let mut all = Vec::new();
        for figures in now {
            let before = self.find(figures);
            if before.is_none() && self.figures.iter().any(|known| known.kernel == figures.kernel) {
                all.push(format!("{} has no figures yet", figures.name()));
            }
            all.extend(figures.complaints(before));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        let [kernel, body, entry] = ["k", "main", "main"].map(str::to_owned);
        Unit { kernel, body, entry, constants: String::new(), spirv: Vec::new(), bindings: Vec::new() }
    }

    fn figures() -> Figures {
        let unit = unit();
        let names = [
            "VGPRs",
            "SGPRs",
            "Spilled VGPRs",
            "Spilled SGPRs",
            "Scratch size",
            "LDS size",
            "Code size",
            "Subgroups per SIMD",
            "Instructions",
            "Latency",
            "Inverse Throughput",
        ];
        let values = [72, 128, 0, 0, 0, 8704, 15076, 14, 2696, 13798, 1000];
        let statistics = names.iter().map(|name| (*name).to_owned()).zip(values).collect();
        let compiled = Compiled { subgroup_size: 64, statistics, assembly: String::new() };
        Figures::new("navi21", "Mesa 22.3.6", &unit, &compiled).unwrap()
    }

    #[test]
    fn a_driver_that_leaves_something_out_is_an_error_that_names_it() {
        let unit = unit();
        let compiled = Compiled { subgroup_size: 64, statistics: Vec::new(), assembly: String::new() };
        let error = Figures::new("navi21", "Mesa 10", &unit, &compiled).unwrap_err();
        assert!(error.to_string().contains("`VGPRs`"), "{error}");
    }

    #[test]
    fn spills_and_fewer_subgroups_are_complaints_whatever_the_driver_and_better_is_none() {
        let good = figures();
        assert!(good.complaints(Some(&good)).is_empty());
        for worse in [
            Figures { spilled_vgprs: 1, ..figures() },
            Figures { spilled_sgprs: 1, ..figures() },
            Figures { scratch_bytes: 64, ..figures() },
            Figures { subgroups_per_simd: 13, ..figures() },
        ] {
            for driver in ["Mesa 22.3.6", "Mesa 25.0.0"] {
                let worse = Figures { driver: driver.to_owned(), ..worse.clone() };
                let said = worse.complaints(Some(&good));
                assert!(said.len() == 1 && said[0].starts_with("k/main for navi21 "), "{said:?}");
            }
        }
        let better = Figures { subgroups_per_simd: 16, vgprs: 60, inverse_throughput: 500, ..figures() };
        assert!(better.complaints(Some(&good)).is_empty());
    }

    #[test]
    fn the_estimated_time_is_judged_loosely_by_another_driver() {
        let good = figures();
        let slower = |by, driver: &str| Figures { inverse_throughput: by, driver: driver.to_owned(), ..figures() };
        assert!(slower(1050, "Mesa 22.3.6").complaints(Some(&good)).is_empty());
        assert_eq!(slower(1051, "Mesa 22.3.6").complaints(Some(&good)).len(), 1);
        assert!(slower(1250, "Mesa 25.0.0").complaints(Some(&good)).is_empty());
        assert_eq!(slower(1251, "Mesa 25.0.0").complaints(Some(&good)).len(), 1);
    }

    #[test]
    fn a_body_that_is_not_in_the_file_of_its_kernel_is_a_complaint() {
        let baseline = Baseline { figures: vec![figures()] };
        let other = Figures { entry: "quads".to_owned(), ..figures() };
        assert_eq!(baseline.complaints(&[figures(), other]).len(), 1);
        // Of a kernel that it does not know, nothing but spills.
        let stranger = Figures { kernel: "other".to_owned(), ..figures() };
        assert!(baseline.complaints(std::slice::from_ref(&stranger)).is_empty());
        assert_eq!(baseline.complaints(&[Figures { scratch_bytes: 4, ..stranger }]).len(), 1);
    }
}
