//! From a kernel's text to a module that a GPU can be given: compose, specialise, parse, validate, reflect.

use crate::error::{Error, Result};
use naga::valid::{Capabilities, GlobalUse, ValidationFlags, Validator};
use std::borrow::Cow;

/// Snippets that a kernel can name in its first lines, `// use: philox`.
const SNIPPETS: &[(&str, &str)] = &[
    ("batch_norm", include_str!("../../../kernels/lib/batch_norm.wgsl")),
    ("bilinear_tap", include_str!("../../../kernels/lib/bilinear_tap.wgsl")),
    ("conv", include_str!("../../../kernels/lib/conv.wgsl")),
    ("coop", include_str!("../../../kernels/lib/coop.wgsl")),
    ("group_reduce", include_str!("../../../kernels/lib/group_reduce.wgsl")),
    ("lab", include_str!("../../../kernels/lib/lab.wgsl")),
    ("lanes", include_str!("../../../kernels/lib/lanes.wgsl")),
    ("linear", include_str!("../../../kernels/lib/linear.wgsl")),
    ("log1p", include_str!("../../../kernels/lib/log1p.wgsl")),
    ("narrow_tile", include_str!("../../../kernels/lib/narrow_tile.wgsl")),
    ("nan", include_str!("../../../kernels/lib/nan.wgsl")),
    ("philox", include_str!("../../../kernels/lib/philox.wgsl")),
    ("sigmoid", include_str!("../../../kernels/lib/sigmoid.wgsl")),
    ("software_tile", include_str!("../../../kernels/lib/software_tile.wgsl")),
    ("squares", include_str!("../../../kernels/lib/squares.wgsl")),
    ("sum_lanes", include_str!("../../../kernels/lib/sum_lanes.wgsl")),
    ("tile", include_str!("../../../kernels/lib/tile.wgsl")),
    ("wide_tile", include_str!("../../../kernels/lib/wide_tile.wgsl")),
    ("winograd", include_str!("../../../kernels/lib/winograd.wgsl")),
    ("winograd_tiles", include_str!("../../../kernels/lib/winograd_tiles.wgsl")),
];

/// A parsed and validated kernel with what the host needs to know of it.
pub struct Module {
    /// naga's module, handed to wgpu as it is.
    pub module: naga::Module,
    /// What naga's validator found out about it.
    pub info: naga::valid::ModuleInfo,
    /// Each entry point with the bindings it uses.
    pub entries: Vec<EntryPoint>,
}

/// An entry point as naga sees it.
pub struct EntryPoint {
    /// Its name in the text.
    pub name: String,
    /// The bindings that it uses, by binding number.
    pub bindings: Vec<Binding>,
}

/// One binding of an entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding {
    /// `@binding(N)`; 0 is the parameter block, 1.. the launch's buffers in order.
    pub number: u32,
    /// What is bound there.
    pub kind: BindingKind,
}

/// What a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// The parameter block and its size in bytes.
    Uniform {
        /// Size as WGSL lays it out.
        bytes: u32,
    },
    /// A storage buffer.
    Storage {
        /// Declared `read_write`.
        writable: bool,
        /// The fewest bytes that may be bound: one element of an array.
        least_bytes: u32,
    },
}

/// The kernel's text with its snippets before it and the literals of tunable constants replaced.
///
/// Snippets are named on lines `// use: NAME` before the first line of code. A constant that is an `override` is left
/// to the pipeline ([`overrides`]); one that is a `const`, in the text or in a snippet, has its literal replaced. With
/// `SIDE` the sides of the matrices that an `alias` stands for are replaced, too: a type takes no constant there. A
/// constant `p.FIELD` stands for that field of the parameter block, a `u32`, wherever the text reads it: the compiler
/// then knows the sizes of a layer, and divides by none that it does not know.
///
/// # Errors
/// An unknown snippet, or a constant that neither the text nor a snippet declares in a line of its own.
pub fn compose(name: &str, source: &str, constants: &[(&'static str, f64)]) -> Result<String> {
    // `enable` directives must come first, before the snippets.
    let (mut lines, body): (Vec<&str>, Vec<&str>) = source.lines().partition(|line| line.starts_with("enable "));
    for line in source.lines().take_while(|line| line.starts_with("//")) {
        if let Some(wanted) = line.strip_prefix("// use:") {
            for snippet in wanted.split(',').map(str::trim) {
                let (_, text) = SNIPPETS
                    .iter()
                    .find(|(known, _)| *known == snippet)
                    .ok_or_else(|| kernel_error(name, format!("no snippet named {snippet} in kernels/lib")))?;
                lines.extend(text.lines());
            }
        }
    }
    lines.extend(body);
    let mut lines: Vec<Cow<'_, str>> = lines.into_iter().map(Cow::Borrowed).collect();
    for &(constant, value) in constants {
        let mut applied = false;
        for line in &mut lines {
            let replaced = match is_field(constant) {
                true => with_field(line, constant, value),
                false => specialise(line, constant, value),
            };
            if let Some(replaced) = replaced {
                *line = Cow::Owned(replaced);
                applied = true;
            }
            applied |= declares_override(line, constant) || declares_field(line, constant);
        }
        if !applied {
            return Err(kernel_error(name, format!("the text declares no constant {constant}")));
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// The constant that sides of cooperative matrices follow.
const SIDE: &str = "SIDE";

/// The line with its literal replaced, if it is `const CONSTANT: TYPE = LITERAL;`, or with the sides of its matrix.
fn specialise(line: &str, constant: &str, value: f64) -> Option<String> {
    if constant == SIDE && line.starts_with("alias ") {
        let (declared, matrix) = line.split_once("coop_mat")?;
        let (_, rest) = matrix.split_once('<')?;
        return Some(format!("{declared}coop_mat{value}x{value}<{rest}"));
    }
    let rest = line.strip_prefix("const ")?.strip_prefix(constant)?;
    let (declared, literal) = rest.split_once('=')?;
    let kind = declared.trim().strip_prefix(':')?.trim();
    let (_, after) = literal.split_once(';')?;
    let suffix = if kind == "u32" { "u" } else { "" };
    Some(format!("const {constant}{declared}= {value}{suffix};{after}"))
}

/// Whether a constant is a field of the parameter block, `p.FIELD`.
pub(crate) fn is_field(constant: &str) -> bool {
    constant.starts_with("p.")
}

/// Whether the line is `FIELD: u32,`, as a parameter block has it.
fn declares_field(line: &str, constant: &str) -> bool {
    let field = constant.strip_prefix("p.").and_then(|field| line.trim_start().strip_prefix(field));
    field.is_some_and(|rest| rest.trim_start().starts_with(": u32"))
}

/// The line with its value in place of a field, if the line reads it.
fn with_field(line: &str, field: &str, value: f64) -> Option<String> {
    let code = line.split("//").next().unwrap_or(line);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let (mut replaced, mut rest, mut found) = (String::new(), code, false);
    while let Some(at) = rest.find(field) {
        let (before, after) = (&rest[..at], &rest[at + field.len()..]);
        let whole = !before.ends_with(is_name) && !after.starts_with(is_name);
        replaced += before;
        match whole {
            true => replaced += &format!("{value}u"),
            false => replaced += field,
        }
        (rest, found) = (after, found | whole);
    }
    found.then(|| replaced + rest)
}

/// Whether the line is `override CONSTANT...;`, with or without an `@id` before it.
fn declares_override(line: &str, constant: &str) -> bool {
    let line = line.trim_start();
    let line = match line.strip_prefix("@id(").and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest.trim_start(),
        None => line,
    };
    let rest = line.strip_prefix("override ").and_then(|rest| rest.trim_start().strip_prefix(constant));
    rest.is_some_and(|rest| matches!(rest.trim_start().chars().next(), Some(':' | '=' | ';')))
}

/// The values that a pipeline is to be given for the `override` declarations of `module`, each by its `@id` or else its
/// name.
///
/// # Errors
/// A constant that `module` has neither as an `override` nor as a `const`, whose literal [`compose`] has replaced.
pub fn overrides(name: &str, module: &naga::Module, constants: &[(&'static str, f64)]) -> Result<Vec<(String, f64)>> {
    let mut values = Vec::new();
    for &(constant, value) in constants.iter().filter(|(constant, _)| !is_field(constant)) {
        let declared = module.overrides.iter().find(|(_, known)| known.name.as_deref() == Some(constant));
        if let Some((_, declared)) = declared {
            values.push((declared.id.map_or_else(|| constant.to_owned(), |id| id.to_string()), value));
        } else if !module.constants.iter().any(|(_, known)| known.name.as_deref() == Some(constant)) {
            return Err(kernel_error(name, format!("the text declares no constant {constant}")));
        }
    }
    Ok(values)
}

/// Parses, validates and reflects composed text.
///
/// # Errors
/// What naga says, in one line that names the kernel.
pub fn parse(name: &str, text: &str) -> Result<Module> {
    let module = naga::front::wgsl::parse_str(text)
        .map_err(|error| kernel_error(name, one_line(&error.emit_to_string(text))))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| kernel_error(name, one_line(&error.emit_to_string(text))))?;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| kernel_error(name, error.to_string()))?;
    let mut entries = Vec::new();
    for (index, entry) in module.entry_points.iter().enumerate() {
        let uses = info.get_entry_point(index);
        let mut bindings = Vec::new();
        for (handle, global) in module.global_variables.iter() {
            let Some(binding) = &global.binding else { continue };
            if uses[handle] == GlobalUse::empty() {
                continue;
            }
            let kind = match global.space {
                naga::AddressSpace::Uniform => BindingKind::Uniform { bytes: layouter[global.ty].size },
                naga::AddressSpace::Storage { access } => {
                    let writable = access.contains(naga::StorageAccess::STORE);
                    BindingKind::Storage { writable, least_bytes: layouter[global.ty].size }
                }
                other => return Err(kernel_error(name, format!("binding {} lies in {other:?}", binding.binding))),
            };
            bindings.push(Binding { number: binding.binding, kind });
        }
        bindings.sort_by_key(|binding| binding.number);
        entries.push(EntryPoint { name: entry.name.clone(), bindings });
    }
    Ok(Module { module, info, entries })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A loader's or driver's complaint about kernel `name`.
pub(super) fn kernel_error(name: &str, message: impl Into<String>) -> Error {
    Error::kernel(name, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// A test.\n// use: linear\nconst TILE: u32 = 8;\noverride SCALE: f32 = 1.0;\nstruct Params { \
         n: u32 }\n@group(0) @binding(0) var<uniform> p: Params;\n@group(0) @binding(1) var<storage, read> x: \
         array<f32>; // (N)\n@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (N)\n@compute \
         @workgroup_size(256) fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) l: u32) \
         {\n let i = linear_index(g, l);\n if (i < p.n) { y[i] = SCALE * x[i] + f32(TILE); }\n}\n";

    #[test]
    fn constants_are_replaced_and_bindings_reflected() {
        let text = compose("t", TEXT, &[("TILE", 16.0), ("SCALE", 2.0)]).unwrap();
        assert!(text.contains("const TILE: u32 = 16u;"), "{text}");
        let module = parse("t", &text).unwrap();
        assert_eq!(
            module.entries[0].bindings,
            [
                Binding { number: 0, kind: BindingKind::Uniform { bytes: 4 } },
                Binding { number: 1, kind: BindingKind::Storage { writable: false, least_bytes: 4 } },
                Binding { number: 2, kind: BindingKind::Storage { writable: true, least_bytes: 4 } },
            ]
        );
    }

    #[test]
    fn an_unknown_constant_or_snippet_is_an_error_that_names_the_kernel() {
        for (text, constants) in [(TEXT, &[("NONE", 1.0)][..]), ("// use: nonesuch\n", &[][..])] {
            assert!(compose("broken", text, constants).unwrap_err().to_string().contains("kernel broken"));
        }
    }

    #[test]
    fn a_constant_of_a_snippet_is_applied() {
        let text = "// A test.\n// use: lanes, tile\n@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n\
             @compute @workgroup_size(1) fn main() { y[0] = f32(PITCH); }\n";
        let composed = compose("t", text, &[("PITCH", 18.0)]).unwrap();
        assert!(composed.contains("const PITCH: u32 = 18u;") && !composed.contains("17u"), "{composed}");
        assert_eq!(overrides("t", &parse("t", &composed).unwrap().module, &[("PITCH", 18.0)]).unwrap(), []);
    }

    #[test]
    fn sides_of_matrices_follow_their_constant() {
        let text = "// A test.\n// use: coop\nenable f16;\nenable wgpu_cooperative_matrix;\n@compute \
             @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {\n var sum: SumMatrix;\n \
             lay_out(&sum, l);\n}\n";
        for side in [8.0, 16.0] {
            let composed = compose("t", text, &[("SIDE", side), ("SUBGROUP", 8.0)]).unwrap();
            assert!(composed.contains(&format!("alias SumMatrix = coop_mat{side}x{side}<f32, C>;")), "{composed}");
            parse("t", &composed).unwrap();
        }
    }

    #[test]
    fn a_constant_that_nothing_would_follow_from_is_refused() {
        let main = "@compute @workgroup_size(1) fn main() {\n  const INNER: u32 = 4;\n  _ = INNER;\n}\n";
        for declared in
            ["// const A: u32 = 1;", "const A = 1;", "const B: u32 = 1; const A: u32 = 1;", "/* override A: u32; */"]
        {
            let text = format!("{declared}\n{main}");
            let composed = compose("t", &text, &[("A", 2.0)]);
            let refused = composed.and_then(|text| overrides("t", &parse("t", &text)?.module, &[("A", 2.0)]));
            assert!(refused.is_err(), "{declared}");
        }
        assert!(compose("t", main, &[("INNER", 2.0)]).is_err());
    }

    #[test]
    fn a_field_of_the_block_is_replaced_wherever_the_text_reads_it() {
        let text = "struct Params {\n    c: u32, // p.c\n    ch: u32,\n}\n\
             @group(0) @binding(0) var<uniform> p: Params;\n\
             @group(0) @binding(1) var<storage, read_write> y: array<u32>; // (C)\n\
             @compute @workgroup_size(1) fn main() { y[p.c - 1u] = p.ch / p.c; }\n";
        let constants = [("p.c", 3.0)];
        let composed = compose("t", text, &constants).unwrap();
        assert!(composed.contains("{ y[3u - 1u] = p.ch / 3u; }") && composed.contains("c: u32, // p.c"), "{composed}");
        let whole = compose("t", text, &[("p.c", 3.0), ("p.ch", 6.0)]).unwrap();
        // Nothing is left to bind for them.
        assert_eq!(parse("t", &whole).unwrap().entries[0].bindings.len(), 1);
        assert!(overrides("t", &parse("t", &composed).unwrap().module, &constants).unwrap().is_empty());
        assert!(compose("t", text, &[("p.d", 3.0)]).is_err());
    }

    #[test]
    fn an_override_with_a_number_is_set_by_its_number() {
        let text = "@id(7) override SCALE: f32 = 1.0;\n@compute @workgroup_size(1) fn main() { _ = SCALE; }\n";
        let constants = [("SCALE", 2.0)];
        let module = parse("t", &compose("t", text, &constants).unwrap()).unwrap().module;
        assert_eq!(overrides("t", &module, &constants).unwrap(), [("7".to_owned(), 2.0)]);
    }

    #[test]
    fn a_syntax_error_names_the_kernel_in_one_line() {
        let message = parse("bad", "fn main( {").err().map(|error| error.to_string()).unwrap();
        assert!(message.contains("kernel bad") && !message.contains('\n'));
    }
}
