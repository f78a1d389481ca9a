//! The main loop of a kernel in the machine's code, as LLVM's disassembler writes it for Mesa.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Multiplications with an addition: the first letters of their names. Of `v_mad` those on floats alone, the others
/// compute addresses.
const FMA: &[&str] = &[
    "v_fma",
    "v_pk_fma",
    "v_dual_fma",
    "v_mac_",
    "v_mad_f",
    "v_mad_mix",
    "v_mad_legacy",
    "v_dot",
    "v_dual_dot",
    "v_wmma",
    "v_swmma",
    "v_mfma",
    "v_smfma",
];
/// Loads from memory that wait in one queue.
const LOADS: &[&str] = &["buffer_load", "tbuffer_load", "global_load", "flat_load", "scratch_load"];

/// The loop that multiplies most: of all loops that with the most FMA instructions outside of loops within it.
///
/// All numbers are of the text: an instruction counts once, however often it runs, and on all branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MainLoop {
    /// Instructions, those of loops within it left out. A pair in one instruction (`v_dual_`) counts as two.
    pub instructions: u64,
    /// Those of them that multiply and add: `v_fma`, `v_fmac`, `v_mac` and `v_mad` on floats, `v_dot`, `v_wmma`.
    pub fma: u64,
    /// Loads from memory from the loop's first one up to the first wait for loads that follows it.
    pub loads_in_flight: u64,
}

impl MainLoop {
    /// FMA instructions as a share of all.
    pub fn share(&self) -> f64 {
        self.fma as f64 / self.instructions as f64
    }
}

struct Instruction<'a> {
    name: &'a str,
    operands: &'a str,
}

impl Instruction<'_> {
    /// The second of two in one instruction.
    fn second(&self) -> Option<&str> {
        self.operands.split_once("::").and_then(|(_, second)| second.split_whitespace().next())
    }

    fn count(&self) -> u64 {
        1 + u64::from(self.second().is_some())
    }

    fn fma(&self) -> u64 {
        [Some(self.name), self.second()].into_iter().flatten().filter(|name| begins(name, FMA)).count() as u64
    }

    fn waits_for_loads(&self) -> bool {
        let names = ["s_waitcnt_vmcnt", "s_wait_loadcnt"];
        begins(self.name, &names) || (self.name == "s_waitcnt" && self.operands.contains("vmcnt("))
    }
}

fn begins(name: &str, any: &[&str]) -> bool {
    any.iter().any(|start| name.starts_with(start))
}

/// The main loop, or `None` where no loop multiplies and adds.
pub fn main_loop(assembly: &str) -> Option<MainLoop> {
    let (mut code, mut labels) = (Vec::new(), BTreeMap::new());
    for line in assembly.lines() {
        let line = line.split(';').next().unwrap_or_default().trim();
        if let Some(label) = line.strip_suffix(':') {
            labels.insert(label, code.len());
        } else if !line.is_empty() {
            let (name, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            code.push(Instruction { name, operands });
        }
    }
    // A branch backwards ends a loop. Several to one place are one loop with its longest way.
    let mut loops: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, instruction) in code.iter().enumerate().filter(|(_, known)| begins(known.name, &["s_cbranch", "s_branch"]))
    {
        if let Some(&start) = labels.get(instruction.operands.trim()).filter(|&&start| start <= at) {
            let end = loops.entry(start).or_default();
            *end = at.max(*end);
        }
    }
    let counted = loops.iter().map(|(&start, &end)| {
        let inner = |&(&s, &e): &(&usize, &usize)| (s, e) != (start, end) && s >= start && e <= end;
        let within = |at: usize| loops.iter().filter(inner).any(|(&s, &e)| (s..=e).contains(&at));
        let (mut instructions, mut fma) = (0, 0);
        for at in (start..=end).filter(|&at| !within(at)) {
            instructions += code[at].count();
            fma += code[at].fma();
        }
        MainLoop { instructions, fma, loads_in_flight: loads_in_flight(&code[start..=end]) }
    });
    // The first of those that are alike.
    let most = counted.reduce(|best, next| if next.fma > best.fma { next } else { best });
    most.filter(|main| main.fma > 0)
}

/// Goes around the loop once: what is loaded at its end may be waited for at its beginning.
fn loads_in_flight(code: &[Instruction<'_>]) -> u64 {
    let loads = |instruction: &&Instruction<'_>| begins(instruction.name, LOADS);
    let first = code.iter().position(|known| loads(&known)).unwrap_or(0);
    let (before, from) = code.split_at(first);
    let up_to_the_wait = from.iter().chain(before).take_while(|known| !known.waits_for_loads());
    up_to_the_wait.filter(loads).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTED: &str = "BB0:
\ts_mov_b32 s0, 0                 ; be800380
\tv_fma_f32 v9, v9, v9, v9        ; d54b0009
BB1:
\tbuffer_load_dwordx4 v[0:3], v4, s[4:7], 0 offen ; e0381000
BB2:
\tv_mad_u32_u24 v7, v7, v7, v7    ; d543
\ts_cbranch_scc1 BB2              ; bf85
\tglobal_load_dword v8, v[4:5], off
\ts_waitcnt lgkmcnt(0)            ; bf8c
\ts_waitcnt vmcnt(1) lgkmcnt(3)   ; bf8c
\tbuffer_load_dword v1, v4, s[4:7], 0 offen
\tv_fmac_f32_e32 v0, v1, v2       ; 5600
\tv_dual_fmac_f32 v3, v4, v5 :: v_dual_mul_f32 v6, v7, v8 ; c8
\ts_cbranch_scc0 BB1              ; bf84
BB3:
\ts_endpgm                        ; bf81
";

    #[test]
    fn the_loop_that_multiplies_is_counted_without_loops_within_it() {
        let found = main_loop(NESTED).unwrap();
        // Two loads, two waits, a load, fmac, a pair, the branch; v_mad_u32 and its branch are another loop's.
        assert_eq!(found, MainLoop { instructions: 9, fma: 2, loads_in_flight: 2 });
        assert!((found.share() - 2.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn loads_at_the_end_are_in_flight_at_the_beginning() {
        let text = "BB1:\n\ts_waitcnt vmcnt(0)\n\tv_fma_f32 v0, v0, v0, v0\n\tglobal_load_b128 v[0:3], v4, s[0:1]\n\t\
             global_load_b128 v[8:11], v4, s[0:1]\n\ts_branch BB1\n";
        assert_eq!(main_loop(text).unwrap().loads_in_flight, 2);
    }

    #[test]
    fn code_without_such_a_loop_has_none() {
        assert_eq!(main_loop("BB0:\n\tv_fma_f32 v0, v0, v0, v0\n\ts_cbranch_scc0 BB1\nBB1:\n\ts_endpgm\n"), None);
        assert_eq!(main_loop("BB0:\n\tv_add_f32 v0, v0, v0\n\ts_cbranch_scc0 BB0\n"), None);
        assert_eq!(main_loop(""), None);
    }
}
