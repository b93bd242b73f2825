//! Mutates inputs, and keeps those that made a target behave as none before.

use std::{
    any::Any,
    collections::HashSet,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

/// The longest input that is made.
const LONGEST: usize = 4096;

/// The most inputs that are kept beside the corpus.
const KEPT: usize = 4096;

/// Values at which lengths, numbers and flags change their meaning.
const EDGES: [u8; 10] = [0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'0'];

/// Runs `target` on its corpus and on mutations of it. It panics where something is wrong, and answers with what
/// it saw: inputs that show something new are mutated further, which stands in for coverage.
pub(crate) fn fuzz<S: Hash>(name: &str, target: impl Fn(&[u8]) -> S) {
    let (seed, seconds) = (number("SEED", 0x5eed), number("SECONDS", 1));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut inputs, mut seen) = (corpus(name), HashSet::new());
    let run = |input: &[u8]| {
        let shown = catch_unwind(AssertUnwindSafe(|| target(input)));
        let shown = shown.unwrap_or_else(|why| fail(name, seed, input, why));
        let mut hasher = DefaultHasher::new();
        shown.hash(&mut hasher);
        hasher.finish()
    };
    for input in &inputs {
        seen.insert(run(input));
    }
    let (given, mut runs, mut random) = (inputs.len(), 0_u64, Random(seed));
    while Instant::now() < end {
        let input = mutated(&inputs, &mut random);
        if seen.insert(run(&input)) && inputs.len() < given + KEPT {
            inputs.push(input);
        }
        runs += 1;
    }
    println!(
        "{name}: seed {seed}, {given} inputs given, {runs} made, {} behaviours",
        seen.len()
    );
}

fn number(name: &str, default: u64) -> u64 {
    let name = format!("DOCKSIDE_FUZZ_{name}");
    std::env::var(&name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name}={value}: {error}"))
    })
}

/// The inputs in the repository, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn fail(name: &str, seed: u64, input: &[u8], why: Box<dyn Any + Send>) -> ! {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../fuzz");
    let file = directory.join(format!("{name}-{:016x}", {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        hasher.finish()
    }));
    let kept = fs::create_dir_all(&directory).and_then(|()| fs::write(&file, input));
    println!("{name}: seed {seed}, failed on {} ({kept:?})", file.display());
    resume_unwind(why)
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let to = at + random.below(input.len() - at + 1).min(64);
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = EDGES[random.below(EDGES.len())],
            2 if at < input.len() => input[at] = random.next() as u8,
            3 => drop(input.drain(at..to)),
            4 => {
                let piece = input[at..to].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let noise: Vec<_> = (0..random.below(8)).map(|_| random.next() as u8).collect();
                input.splice(at..at, noise);
            }
            // Goes on as another input does.
            _ => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(LONGEST);
    input
}
