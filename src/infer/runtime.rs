//! ONNX Runtime's shared library, loaded once per process, and what it offers.

use super::error::InferError;
use crate::config::Provider;
use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The one environment of the process and the library that it came from. ONNX Runtime cannot be unloaded, so a process
/// that loaded one library never uses another.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The library in use.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(super) environment: Environment,
    library: PathBuf,
}

impl Runtime {
    /// Loads the library, or takes the one that this process has already loaded from the same file.
    ///
    /// # Errors
    /// [`InferError::Library`] when the file is missing, is not ONNX Runtime, is too old, or another one is in use.
    pub fn load(library: &Path) -> Result<Self, InferError> {
        let real = library.canonicalize().map_err(|error| {
            InferError::Library(format!(
                "{}: {error}; `scripts/onnxruntime.sh` fetches the library, infer.library names it",
                library.display()
            ))
        })?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, environment)) = loaded.as_ref() {
            return if *path == real {
                Ok(Self { environment: environment.clone(), library: real })
            } else {
                Err(InferError::Library(format!("this process already uses {}", path.display())))
            };
        }
        let environment = ort::init_from(&real)
            .map_err(|error| InferError::Library(error.to_string()))?
            .with_name("scargate")
            .with_telemetry(false)
            .build()
            .map_err(|error| InferError::Library(error.to_string()))?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        *loaded = Some((real.clone(), environment.clone()));
        Ok(Self { environment, library: real })
    }

    /// Version of ONNX Runtime, e.g. `1.31.1`.
    pub fn version(&self) -> String {
        version_of(ort::info(), &self.library)
    }

    /// Whether the library was built with a provider (it may still fail to start). Only providers that this binary was
    /// built for can be asked about.
    fn offers(&self, provider: Provider) -> bool {
        match provider {
            Provider::Cpu => true,
            #[cfg(feature = "cuda")]
            Provider::Cuda => <ort::ep::CUDA as ort::ep::ExecutionProvider>::is_available().unwrap_or(false),
            #[cfg(feature = "tensorrt")]
            Provider::Tensorrt => <ort::ep::TensorRT as ort::ep::ExecutionProvider>::is_available().unwrap_or(false),
            #[cfg(not(all(feature = "cuda", feature = "tensorrt")))]
            _ => false,
        }
    }
}

/// The library's file is named after its version; the build text names the release branch. Whichever is there counts.
fn version_of(info: &str, library: &Path) -> String {
    let file = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let from_file = file.split_once(".so.").map(|(_, version)| version.to_owned());
    let from_info =
        info.split("git-branch=rel-").nth(1).and_then(|rest| rest.split([',', ' ']).next()).map(str::to_owned);
    from_file
        .or(from_info)
        .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_else(|| info.to_owned())
}

/// Name that ONNX Runtime gives a provider.
pub fn ort_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Cpu => "CPUExecutionProvider",
        Provider::Cuda => "CUDAExecutionProvider",
        Provider::Tensorrt => "TensorrtExecutionProvider",
    }
}

/// The providers to register, in order. Registration failures are errors, never a silent fall-back.
///
/// # Errors
/// [`InferError::Provider`] when the binary or the library lacks one.
pub fn dispatches(
    runtime: &Runtime,
    providers: &[Provider],
    device: u32,
) -> Result<Vec<ExecutionProviderDispatch>, InferError> {
    let device = i32::try_from(device).map_err(|_| InferError::Provider("infer.device is out of range".to_owned()))?;
    let mut out = Vec::new();
    for provider in providers {
        let missing = |what: String| InferError::Provider(format!("{what} the provider `{}`", provider.name()));
        let dispatch = dispatch(*provider, device)
            .ok_or_else(|| missing("this binary was built without (cargo feature)".to_owned()))?;
        if !runtime.offers(*provider) {
            return Err(missing(format!("the library {} does not hold", runtime.library.display())));
        }
        out.push(dispatch.error_on_failure());
    }
    Ok(out)
}

/// The registration of a provider; `None` when this binary was built without it. CUDA and TensorRT have not been run by
/// the authors: no machine with them was at hand.
fn dispatch(provider: Provider, device: i32) -> Option<ExecutionProviderDispatch> {
    match provider {
        Provider::Cpu => Some(ort::ep::CPU::default().with_arena_allocator(true).build()),
        Provider::Cuda => cuda(device),
        Provider::Tensorrt => tensorrt(device),
    }
}

#[cfg(feature = "cuda")]
fn cuda(device: i32) -> Option<ExecutionProviderDispatch> {
    let cuda = ort::ep::CUDA::default()
        .with_device_id(device)
        .with_arena_extend_strategy(ort::ep::ArenaExtendStrategy::SameAsRequested)
        .with_conv_algorithm_search(ort::ep::cuda::ConvAlgorithmSearch::Heuristic)
        .with_tf32(false);
    Some(cuda.build())
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: i32) -> Option<ExecutionProviderDispatch> {
    None
}

#[cfg(feature = "tensorrt")]
fn tensorrt(device: i32) -> Option<ExecutionProviderDispatch> {
    Some(ort::ep::TensorRT::default().with_device_id(device).build())
}

#[cfg(not(feature = "tensorrt"))]
fn tensorrt(_: i32) -> Option<ExecutionProviderDispatch> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_file_name_or_the_release_branch() {
        assert_eq!(version_of("", Path::new("/x/libonnxruntime.so.1.31.1")), "1.31.1");
        let info = "ORT Build Info: git-branch=rel-1.31.1, git-commit-id=abc, build type=Release";
        assert_eq!(version_of(info, Path::new("/x/libonnxruntime.so")), "1.31.1");
        assert_eq!(version_of("something else", Path::new("/x/lib.so")), "something else");
    }
}
