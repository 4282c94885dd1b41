//! cfn-lint and the AWS command line, for the tests of the templates. They are installed once into the cache directory.

use std::path::PathBuf;

use crate::ministack;

const FILE: &str = "xtask/aws-tools-requirements.txt";
const REQUIREMENTS: &str = include_str!("../aws-tools-requirements.txt");

/// Installs what is missing, and returns the folder of the packages and the Python that runs them.
pub fn install() -> Result<(PathBuf, &'static str), String> {
    let (python, tag) = ministack::find_python()?;
    let folder = ministack::install_packages("aws-tools", python, &tag, REQUIREMENTS, FILE)?;
    Ok((folder, python))
}
