//! Keys of a profile in the shared file of credentials, which object_store does not read.

use anyhow::{Context, Result, bail};
use std::env::var_os;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The most bytes of the file.
const BYTES: u64 = 1 << 20;

/// Static keys. Their `Debug` would show them, so there is none.
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

/// The keys of AWS_PROFILE, or of `default`. `None` if the environment has keys, or there is no file.
/// Fails if a named file or profile is missing.
pub(crate) fn keys() -> Result<Option<Keys>> {
    if var_os("AWS_ACCESS_KEY_ID").is_some() {
        return Ok(None);
    }
    let named = var_os("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let home = || var_os("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
    let Some(path) = named.clone().or_else(home) else { return Ok(None) };
    let profile = std::env::var("AWS_PROFILE").ok();
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => _ = file.take(BYTES).read_to_string(&mut text).context("cannot read the file of credentials")?,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() && profile.is_none() => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the file of credentials {}", path.display()));
        }
    }
    let name = profile.as_deref().unwrap_or("default");
    match of(&text, name) {
        Some(keys) => Ok(Some(keys)),
        None if profile.is_none() && named.is_none() => Ok(None),
        None => bail!("{} has no keys for the profile '{name}'", path.display()),
    }
}

fn of(text: &str, profile: &str) -> Option<Keys> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys { id: id?, secret: secret?, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_profile() {
        let text = "[default]\naws_access_key_id=A\n[ship]\n# x\naws_access_key_id = B\naws_secret_access_key= C=\n";
        let keys = of(text, "ship").expect("keys");
        assert_eq!((&*keys.id, &*keys.secret, keys.token), ("B", "C=", None));
        assert!(of(text, "default").is_none() && of(text, "other").is_none());
    }
}
