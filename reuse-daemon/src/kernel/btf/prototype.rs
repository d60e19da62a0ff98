//! Prototypes of tracepoints, functions and iterators, in C's words.

use reuse_ebpf::hooks::{Hook, Place};

use super::{
    Btf,
    format::{
        COMMON, KIND_CONST, KIND_ENUM, KIND_ENUM64, KIND_FLOAT, KIND_FUNC_PROTO, KIND_FWD, KIND_INT,
        KIND_PTR, KIND_RESTRICT, KIND_STRUCT, KIND_TYPE_TAG, KIND_TYPEDEF, KIND_UNION, KIND_VOLATILE, word,
    },
};

impl Btf<'_> {
    /// The types of a hook's arguments in order, `None` where this kernel has no such hook.
    #[must_use]
    pub fn arguments(&self, hook: &Hook) -> Option<Vec<String>> {
        match hook.place {
            // Before the arguments comes the tracepoint's own data.
            Place::Tracepoint => self.tracepoint(hook.name).map(|prototype| self.parameters(prototype, 1))?,
            Place::Function => self.function(hook.name).map(|prototype| self.parameters(prototype, 0))?,
            Place::Iterator => {
                let function = self.function(&format!("bpf_iter_{}", hook.name))?;
                self.parameters(function, 0)
            }
        }
    }

    /// Number of the prototype of a tracepoint: what the pointer `btf_trace_NAME` points to.
    fn tracepoint(&self, name: &str) -> Option<u32> {
        let (_, _, _, pointer) = self.type_at(self.tracepoint_number(name)?)?;
        let (_, _, _, pointer) = self.type_at(word(self.types, pointer + 8)?)?;
        word(self.types, pointer + 8)
    }

    /// Number of the prototype of a function.
    fn function(&self, name: &str) -> Option<u32> {
        let (_, _, _, function) = self.type_at(self.function_number(name)?)?;
        word(self.types, function + 8)
    }

    fn parameters(&self, prototype: u32, skipped: usize) -> Option<Vec<String>> {
        let (kind, count, _, position) = self.type_at(prototype)?;
        if kind != KIND_FUNC_PROTO || count < skipped {
            return None;
        }
        let parameter = |index| self.words(word(self.types, position + COMMON + 8 * index + 4)?, 0);
        (skipped..count).map(parameter).collect()
    }

    /// A type in C's words; deeper than any real one, nothing.
    fn words(&self, id: u32, depth: usize) -> Option<String> {
        const DEEPEST: usize = 16;
        if id == 0 {
            return Some("void".to_owned());
        }
        if depth > DEEPEST {
            return None;
        }
        let (kind, _, is_union, position) = self.type_at(id)?;
        let name = || self.name_at(position).map(|name| String::from_utf8_lossy(name).into_owned());
        let inner = || self.words(word(self.types, position + 8)?, depth + 1);
        let inner_is_pointer = || {
            let inner = word(self.types, position + 8)?;
            Some(inner != 0 && self.type_at(inner)?.0 == KIND_PTR)
        };
        Some(match kind {
            KIND_PTR => {
                let pointee = inner()?;
                if pointee.ends_with('*') { format!("{pointee}*") } else { format!("{pointee} *") }
            }
            KIND_CONST if inner_is_pointer()? => format!("{}const", inner()?),
            KIND_CONST => format!("const {}", inner()?),
            KIND_VOLATILE => format!("volatile {}", inner()?),
            KIND_RESTRICT | KIND_TYPE_TAG => inner()?,
            KIND_STRUCT => format!("struct {}", name()?),
            KIND_UNION => format!("union {}", name()?),
            KIND_ENUM | KIND_ENUM64 => format!("enum {}", name()?),
            KIND_FWD => format!("{} {}", if is_union { "union" } else { "struct" }, name()?),
            KIND_INT | KIND_FLOAT | KIND_TYPEDEF => name()?,
            KIND_FUNC_PROTO => "function".to_owned(),
            _ => return None,
        })
    }
}
