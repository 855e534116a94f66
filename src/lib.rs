//! scargate measures myocardial scar on late-gadolinium-enhancement (LGE) cardiac MR studies and hands the result on:
//! a study comes from the PACS over DICOMweb, is segmented by ONNX models, and goes back as DICOM SEG, as FHIR
//! Observations and as an audit trail. The weights that ship with it are for research and evaluation.
//!
//! Read the modules in the order of a study's way: [`intake`] takes a request, [`queue`] carries it, [`dicomweb`]
//! fetches the images, [`study`] chooses the stack, [`infer`] draws, [`quantify`] measures, [`encode`] writes SEG and
//! FHIR, [`deliver`] sends them. [`pipeline`] calls these steps in order and does none of their work; [`store`] is the
//! only room with SQL; [`audit`] proves what happened; [`http`] serves people and machines; [`app`] wires it all. Beside
//! that way, [`evaluate`] scores masks against reference masks.
//!
//! A step never imports another step: what passes between them is a [`domain`] type. `quantify`, `encode`,
//! `evaluate`, `phantom` and `study` do no network or database I/O.

pub mod analysis;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod dicomweb;
pub mod domain;
pub mod encode;
pub mod evaluate;
pub mod failure;
pub mod http;
pub mod infer;
pub mod intake;
pub mod lifecycle;
pub mod pipeline;
pub mod quantify;
pub mod queue;
pub mod store;
pub mod study;
pub mod telemetry;

pub use scargate_phantom as phantom;
