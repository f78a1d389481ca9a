//! Python's pickle, of which tensors alone are made. Nothing is executed: a name that stands for code is looked up in a
//! short list of what PyTorch needs for tensors, and any other is refused.

use std::collections::HashMap;

/// A value on the stack, by its number: containers are filled after they have been named.
pub type Id = usize;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`, and what is of no interest.
    None,
    /// A whole number, or yes and no.
    Int(i64),
    /// A text.
    Text(String),
    /// A tuple or a list.
    Row(Vec<Id>),
    /// A dictionary.
    Dict(Vec<(Id, Id)>),
    /// A name from the list.
    Known(Known),
    /// Something that lies beside the pickle, by what it is called there.
    Outside(Id),
    /// What [`Known::Tensor`] makes of its arguments.
    Tensor(Vec<Id>),
}

/// Names that may stand in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// `collections.OrderedDict`.
    Dict,
    /// `torch._utils._rebuild_tensor_v2`, and `_rebuild_tensor` of earlier versions, which has fewer arguments.
    Tensor,
    /// `torch._utils._rebuild_parameter`: its first argument.
    Parameter,
    /// A kind of storage, as `FloatStorage`.
    Storage(String),
}

impl Known {
    fn of(module: &str, name: &str) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Known::Dict),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Ok(Known::Tensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Known::Parameter),
            ("torch" | "torch.storage", _) if name.ends_with("Storage") => Ok(Known::Storage(name.to_owned())),
            _ => Err(format!("it names {module}.{name}, and nothing but tensors is read")),
        }
    }
}

/// What a pickle holds.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    top: Id,
}

impl Pickle {
    /// Reads a pickle of protocol 2 to 5 that begins at the start of `bytes`, and says how long it is.
    ///
    /// # Errors
    /// A pickle that is cut short, names what is not in the list, calls anything, or uses what no file of tensors does;
    /// in words.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), String> {
        let (values, stack, marks, memo) = Default::default();
        let mut machine = Machine { bytes, at: 0, values, stack, marks, memo };
        let top = machine.run()?;
        Ok((Pickle { values: machine.values, top }, machine.at))
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// What the whole pickle is.
    pub fn top(&self) -> Id {
        self.top
    }

    /// A value.
    pub fn value(&self, id: Id) -> &Value {
        &self.values[id]
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Lengths of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

type Answer<T> = Result<T, String>;

fn broken() -> String {
    "the pickle in it is cut short or damaged".to_owned()
}

impl<'a> Machine<'a> {
    fn take(&mut self, len: u64) -> Answer<&'a [u8]> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len)).ok_or_else(broken)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(broken)?;
        self.at = end;
        Ok(taken)
    }

    /// A number of `len` bytes, up to eight, without a sign.
    fn number(&mut self, len: u64) -> Answer<u64> {
        Ok(self.take(len)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Text whose length stands in `len` bytes before it.
    fn text(&mut self, len: u64) -> Answer<String> {
        let len = self.number(len)?;
        Ok(String::from_utf8_lossy(self.take(len)?).into_owned())
    }

    fn line(&mut self) -> Answer<String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        self.at += len + 1;
        Ok(String::from_utf8_lossy(&rest[..len]).into_owned())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Answer<Id> {
        let least = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= least {
            return Err(broken());
        }
        self.stack.pop().ok_or_else(broken)
    }

    /// The uppermost value, which stays.
    fn last(&self) -> Answer<Id> {
        self.stack.last().copied().ok_or_else(broken)
    }

    /// The values from the last mark on.
    fn marked(&mut self) -> Answer<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(broken)?;
        Ok(self.stack.split_off(mark))
    }

    /// The last `count` values as a row.
    fn row(&mut self, count: usize) -> Answer<()> {
        let mut row = (0..count).map(|_| self.pop()).collect::<Answer<Vec<Id>>>()?;
        row.reverse();
        self.push(Value::Row(row));
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Answer<()> {
        let last = self.last()?;
        match &mut self.values[last] {
            Value::Row(row) => row.extend(items),
            _ => return Err(broken()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Answer<()> {
        let last = self.last()?;
        match &mut self.values[last] {
            Value::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err(broken()),
        }
        Ok(())
    }

    /// What a name from the list makes of its arguments.
    fn call(&mut self) -> Answer<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Row(arguments) = self.values[arguments].clone() else { return Err(broken()) };
        match &self.values[callee] {
            // Python 2 passes the pairs to the call.
            Value::Known(Known::Dict) if arguments.len() <= 1 => {
                let row = |id: &Id| if let Value::Row(row) = &self.values[*id] { Some(row) } else { None };
                let pairs = arguments.first().map_or(Some(Vec::new()), |pairs| {
                    let pair = |id| row(id).and_then(|pair| Some((*pair.first()?, *pair.get(1)?)));
                    row(pairs)?.iter().map(pair).collect()
                });
                self.push(Value::Dict(pairs.ok_or_else(broken)?));
            }
            Value::Known(Known::Tensor) => self.push(Value::Tensor(arguments)),
            Value::Known(Known::Parameter) => self.stack.push(*arguments.first().ok_or_else(broken)?),
            _ => return Err("it calls something, and nothing but tensors is read".to_owned()),
        }
        Ok(())
    }

    fn run(&mut self) -> Answer<Id> {
        loop {
            match self.take(1)?[0] {
                b'.' => return self.pop(),
                // Protocol, frame.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.marked()?),
                b'N' => self.push(Value::None),
                0x88 => self.push(Value::Int(1)),
                0x89 => self.push(Value::Int(0)),
                b'J' => {
                    let number = self.number(4)? as u32 as i32;
                    self.push(Value::Int(number.into()));
                }
                b'K' => {
                    let number = self.number(1)?;
                    self.push(Value::Int(number as i64));
                }
                b'M' => {
                    let number = self.number(2)?;
                    self.push(Value::Int(number as i64));
                }
                0x8a => {
                    let len = self.number(1)?;
                    if len > 8 {
                        return Err("a whole number of more than 64 bits".to_owned());
                    }
                    let (number, unused) = (self.number(len)?, 64 - 8 * len as u32);
                    let signed = number.checked_shl(unused).map_or(0, |shifted| shifted as i64 >> unused);
                    self.push(Value::Int(signed));
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::None);
                }
                code @ (b'X' | 0x8c | 0x8d | b'U' | b'T') => {
                    let text = self.text(match code {
                        0x8c | b'U' => 1,
                        0x8d => 8,
                        _ => 4,
                    })?;
                    self.push(Value::Text(text));
                }
                code @ (b'C' | b'B' | 0x8e) => {
                    let len = self.number(match code {
                        b'C' => 1,
                        b'B' => 4,
                        _ => 8,
                    })?;
                    self.take(len)?;
                    self.push(Value::None);
                }
                b']' | b')' => self.push(Value::Row(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.marked()?;
                    self.append(items)?;
                }
                b't' => {
                    let row = self.marked()?;
                    self.push(Value::Row(row));
                }
                code @ 0x85..=0x87 => self.row(usize::from(code - 0x84))?,
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.set(&items)?;
                }
                code @ (b'h' | b'j') => {
                    let number = self.number(if code == b'h' { 1 } else { 4 })?;
                    self.stack.push(*self.memo.get(&number).ok_or_else(broken)?);
                }
                code @ (b'q' | b'r') => {
                    let (number, last) = (self.number(if code == b'q' { 1 } else { 4 })?, self.last()?);
                    self.memo.insert(number, last);
                }
                0x94 => {
                    let last = self.last()?;
                    self.memo.insert(self.memo.len() as u64, last);
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Known(Known::of(&module, &name)?));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(name), Value::Text(module)) = (&self.values[name], &self.values[module]) else {
                        return Err(broken());
                    };
                    let known = Known::of(module, name)?;
                    self.push(Value::Known(known));
                }
                b'R' => self.call()?,
                // The state of a dictionary: notes on versions of layers, which are of no interest.
                b'b' => {
                    let (_, of) = (self.pop()?, self.last()?);
                    if !matches!(self.values[of], Value::Dict(_)) {
                        return Err("it gives a state to what is no dictionary".to_owned());
                    }
                }
                b'Q' => {
                    let called = self.pop()?;
                    self.push(Value::Outside(called));
                }
                code => return Err(format!("the pickle in it uses code {code:#04x}, which no file of tensors does")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_of_python_2_brings_its_pairs_in_the_call() {
        let bytes = b"\x80\x02ccollections\nOrderedDict\nq\x01]q\x02(]q\x03(U\x01aK\x05e\
            ]q\x04(U\x01bh\x03ee\x85q\x05Rq\x06. more";
        let (pickle, len) = Pickle::read(bytes).unwrap();
        assert_eq!(len, bytes.len() - 5);
        let Value::Dict(pairs) = pickle.value(pickle.top()) else { panic!("{pickle:?}") };
        let &[(a, five), (b, row)] = &pairs[..] else { panic!("{pairs:?}") };
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!([pickle.value(a), pickle.value(b)], [&text("a"), &text("b")]);
        assert_eq!((pickle.value(five), pickle.value(row)), (&Value::Int(5), &Value::Row(vec![a, five])));
    }

    #[test]
    fn whole_numbers_have_their_signs() {
        for (bytes, number) in [
            (&b"J\xfe\xff\xff\xff."[..], -2),
            (b"\x8a\x00.", 0),
            (b"\x8a\x01\x80.", -128),
            (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
            (b"M\xff\xff.", 65_535),
            (b"\x88.", 1),
        ] {
            let (pickle, _) = Pickle::read(bytes).unwrap();
            assert_eq!(pickle.value(pickle.top()), &Value::Int(number), "{bytes:?}");
        }
    }
}
