//! Modules that are small to write and much work to compile or to instantiate. By hand, byte for byte: text of that size
//! would take longer to parse.

/// A section: its number, its length, its bytes.
fn section(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(number(body.len()));
    bytes.extend(body);
    bytes
}

/// A number as WebAssembly writes it.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A list of things that are bytes already.
fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = number(items.len());
    for item in items {
        bytes.extend(item);
    }
    bytes
}

/// A component of nothing but a core module with these function bodies, each `() -> ()`.
fn component(bodies: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, &[1, 0x60, 0, 0]));
    module.extend(section(3, &list(&vec![vec![0]; bodies.len()])));
    module.extend(section(5, &[1, 0, 1]));
    let sized: Vec<_> = bodies.iter().map(|body| [number(body.len()), body.clone()].concat()).collect();
    module.extend(section(10, &list(&sized)));
    if !data.is_empty() {
        // Passive: copied to nowhere.
        module.extend(section(11, &[vec![1, 1], number(data.len()), data.to_vec()].concat()));
    }
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

/// One function of so many branches, each of which changes some of so many variables: what a register allocator likes
/// least. 119 KB of it took 0.9 GiB and 2.3 s.
pub(crate) fn branches(count: usize, variables: usize) -> Vec<u8> {
    let local = |operation: u8, index: usize| [vec![operation], number(index % variables)].concat();
    let mut body = [vec![1], number(variables), vec![0x7e]].concat();
    for n in 0..count {
        let at = n * 31;
        body.extend([local(0x20, at), vec![0xa7, 0x04, 0x40], local(0x20, at + 1), local(0x21, at)].concat());
        body.extend([vec![0x05], local(0x20, at + 7), local(0x21, at + 3), vec![0x0b]].concat());
    }
    body.push(0x0b);
    component(&[body], &[])
}

/// One function of blocks in blocks, each of which may be left to any outer one.
pub(crate) fn blocks(depth: usize) -> Vec<u8> {
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth));
    for n in 0..depth {
        body.extend([vec![0x41, 0x01, 0x0d], number(n % (depth - n)), vec![0x0b]].concat());
    }
    body.push(0x0b);
    component(&[body], &[])
}

/// So many functions that do nothing.
pub(crate) fn functions(count: usize) -> Vec<u8> {
    component(&vec![vec![0, 0x0b]; count], &[])
}

/// So many bytes of data.
pub(crate) fn data(bytes: usize) -> Vec<u8> {
    component(&[vec![0, 0x0b]], &vec![0x55; bytes])
}

/// How many core modules and core instances a component has itself.
fn counts(component: &[u8]) -> (usize, usize) {
    let (mut rest, mut modules, mut instances) = (&component[8..], 0, 0);
    while let Some((id, after)) = rest.split_first() {
        let (length, body) = read_number(after);
        modules += usize::from(*id == 1);
        // A section of instances begins with their number.
        instances += if *id == 2 { read_number(body).0 } else { 0 };
        rest = &body[length..];
    }
    (modules, instances)
}

fn read_number(bytes: &[u8]) -> (usize, &[u8]) {
    let end = bytes.iter().position(|byte| *byte < 0x80).unwrap();
    let value = bytes[..=end].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, &bytes[end + 1..])
}

/// The component with so many instances of another core module in it that nothing uses.
pub(crate) fn beside(component: &[u8], module: &[u8], count: usize) -> Vec<u8> {
    let instance = [vec![0], number(counts(component).0), vec![0]].concat();
    [component.to_vec(), section(1, module), section(2, &list(&vec![instance; count]))].concat()
}

/// The component with another one in it, that has one in it, and so on.
pub(crate) fn nested(component: &[u8], depth: usize) -> Vec<u8> {
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    let inner = (0..depth).fold(EMPTY.to_vec(), |inner, _| [EMPTY, &section(4, &inner)].concat());
    [component, &section(4, &inner)].concat()
}

/// The component with so many instances in it that nothing uses, each of which writes so many bytes, one by one, into a
/// memory that they share: work that is done before any code of the guest runs.
pub(crate) fn segments(component: &[u8], segments: usize, instances: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x01\0\0\0";
    let (modules, before) = counts(component);
    // A memory, exported as "m"; and a module that imports it.
    let memory = [HEAD, &section(5, &[1, 0, 1]), &section(7, &[1, 1, b'm', 2, 0])].concat();
    let segment = vec![0, 0x41, 0, 0x0b, 1, 0x55];
    let import = section(2, &[1, 1, b'm', 1, b'm', 2, 0, 1]);
    let writer = [HEAD, &import, &section(11, &list(&vec![segment; segments]))].concat();
    // The second one is given the instance of the first as "m".
    let argument = [vec![1, 1, b'm', 0x12], number(before)].concat();
    let writing = [vec![0], number(modules + 1), argument].concat();
    let owner = [vec![0], number(modules), vec![0]].concat();
    let made = list(&[vec![owner], vec![writing; instances]].concat());
    [component.to_vec(), section(1, &memory), section(1, &writer), section(2, &made)].concat()
}
