//! The code that `rpcgen` makes from `monshm.x` reads and writes the same bytes.
//!
//! An independent check where `rpcgen`, a C compiler and libtirpc are there; where they are not, it says so on the
//! terminal and checks nothing. `xdr_language` needs none of them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use monshm_proto::encode;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::support::{crc32c, descriptor, fields, hex};

const DESCRIPTORS: usize = 500;

#[test]
fn the_code_made_by_rpcgen_agrees() {
    let reader = match build_reader() {
        Ok(reader) => reader,
        Err(missing) => {
            // Past the capture of the test runner: a skip is seen.
            writeln!(io::stderr(), "skipped: the_code_made_by_rpcgen_agrees: {missing}").expect("stderr");
            return;
        }
    };
    let (mut runner, strategy) = (TestRunner::deterministic(), descriptor());
    let (mut input, mut expected) = (String::new(), Vec::new());
    for _ in 0..DESCRIPTORS {
        let descriptor = strategy.new_tree(&mut runner).expect("a descriptor").current();
        let bytes = encode(&descriptor);
        let checksum = crc32c(&bytes[..bytes.len() - 4]);
        input.push_str(&hex(&bytes));
        input.push('\n');
        expected.push(format!("{} {}", fields(&descriptor, checksum).join(" "), hex(&bytes)));
    }
    let input_path = reader.with_extension("in");
    fs::write(&input_path, input).expect("the target directory can be written");
    let stdin = fs::File::open(input_path).expect("just written");
    let output = Command::new(&reader).stdin(stdin).output().expect("just built");
    assert!(output.status.success());
    let found = String::from_utf8(output.stdout).expect("text");
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
}

/// Builds the reader in the target directory. Answers what is missing; a build that fails with everything there panics.
fn build_reader() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rpcgen");
    let flags = output(Command::new("pkg-config").args(["--cflags", "--libs", "libtirpc"]))?;
    let flags: Vec<&str> = flags.split_whitespace().collect();
    fs::create_dir_all(&target).expect("the target directory can be written");
    // rpcgen puts the path of its input into what it writes, and refuses to overwrite.
    fs::copy(source.join("monshm.x"), target.join("monshm.x")).expect("the target directory can be written");
    for (mode, name) in [("-h", "monshm.h"), ("-c", "monshm_xdr.c")] {
        let _ = fs::remove_file(target.join(name));
        output(Command::new("rpcgen").args([mode, "-o", name, "monshm.x"]).current_dir(&target))?;
    }
    let reader = target.join("reader");
    let main = source.join("tests/wire/rpcgen_reader.c");
    output(
        Command::new("cc")
            .args(["-I.", "-o"])
            .args([&reader, &main])
            .arg("monshm_xdr.c")
            .args(flags)
            .current_dir(&target),
    )?;
    Ok(reader)
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) if program == "pkg-config" => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Ok(output) => panic!("{program} refuses monshm.x:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => Err(format!("{program}: {error}")),
    }
}
