//! Retrieval (WADO-RS): a multipart answer becomes source objects, part by part, never twice in memory.

use super::Client;
use super::error::Error;
use super::multipart::{Event, Reader};
use super::spool::Sink;
use super::transport::Body;
use crate::domain::source::SourceObject;
use crate::domain::uid::Uid;
use crate::failure::Failure;
use std::time::Duration;

/// In which transfer syntax objects are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// As they are stored: nothing is lost, and the PACS need not be able to decode.
    AsStored,
    /// Explicit VR Little Endian: the PACS decodes what we cannot.
    ExplicitLittleEndian,
}

impl Syntax {
    /// One media type only: old Orthanc answers 400 to a list.
    fn accept(self) -> &'static str {
        match self {
            Self::AsStored => "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            Self::ExplicitLittleEndian => {
                "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.1"
            }
        }
    }
}

impl Client {
    /// Retrieves all objects of a study.
    ///
    /// # Errors
    /// `study-not-found` when it is gone, `study-too-large` above a limit, `spool-full`, `step-timeout` after
    /// `limits.retrieve_secs`, `transfer-syntax-not-supported` when the PACS was asked to decode and cannot; transient
    /// when the PACS is away or cuts the transfer.
    pub async fn retrieve_study(&self, study: &Uid, syntax: Syntax) -> Result<Vec<SourceObject>, Failure> {
        self.retrieve(&["studies", study.as_str()], syntax).await
    }

    /// Retrieves all objects of a series.
    ///
    /// # Errors
    /// As [`Client::retrieve_study`].
    pub async fn retrieve_series(
        &self,
        study: &Uid,
        series: &Uid,
        syntax: Syntax,
    ) -> Result<Vec<SourceObject>, Failure> {
        self.retrieve(&["studies", study.as_str(), "series", series.as_str()], syntax).await
    }

    /// Retrieves one object as it is stored.
    ///
    /// # Errors
    /// As [`Client::retrieve_study`]; `pacs-protocol` when the PACS answers with anything but one object.
    pub async fn retrieve_instance(&self, study: &Uid, series: &Uid, sop: &Uid) -> Result<SourceObject, Failure> {
        let path = ["studies", study.as_str(), "series", series.as_str(), "instances", sop.as_str()];
        let mut objects = self.retrieve(&path, Syntax::AsStored).await?;
        match (objects.pop(), objects.is_empty()) {
            (Some(object), true) => Ok(object),
            _ => Err(Error::Protocol("not exactly one object for one instance").into()),
        }
    }

    async fn retrieve(&self, path: &[&str], syntax: Syntax) -> Result<Vec<SourceObject>, Failure> {
        let limit = Duration::from_secs(self.limits.retrieve_secs);
        let transfer = self.transport.retry(|| self.retrieve_once(path, syntax));
        // A slow drip is never idle: only the limit of the whole step ends it.
        let result = tokio::time::timeout(limit, transfer).await.unwrap_or(Err(Error::Deadline(limit)));
        Ok(result?)
    }

    async fn retrieve_once(&self, path: &[&str], syntax: Syntax) -> Result<Vec<SourceObject>, Error> {
        let request = self.transport.get(self.transport.url(path), syntax.accept());
        let body = match self.transport.send(request, self.limits.study_bytes).await {
            // The objects could be sent as stored; what fails now is the decoder of the PACS.
            Err(Error::Status { status: 400 | 406 | 415 | 500 | 501, .. })
                if syntax == Syntax::ExplicitLittleEndian =>
            {
                return Err(Error::NotTranscodable);
            }
            other => other?,
        };
        let media_type = body.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let objects = match media_type.as_str() {
            // Some servers send a single object without the multipart frame.
            "application/dicom" => vec![self.single(body).await?],
            _ => self.parts(body).await?,
        };
        if objects.is_empty() { Err(Error::NotFound) } else { Ok(objects) }
    }

    async fn single(&self, mut body: Body) -> Result<SourceObject, Error> {
        let mut sink = Sink::new(&self.spool, self.spool.memory_budget());
        let mut size = 0;
        while let Some(chunk) = body.chunk().await? {
            size += chunk.len() as u64;
            if size > self.limits.instance_bytes {
                return Err(Error::TooLarge("[limits] instance_bytes"));
            }
            sink.write(&chunk).await?;
        }
        Ok(sink.finish().await?.0)
    }

    async fn parts(&self, mut body: Body) -> Result<Vec<SourceObject>, Error> {
        let mut reader = Reader::new(body.content_type(), self.limits.multipart_parts, self.limits.instance_bytes)?;
        let mut objects = Vec::new();
        let mut budget = self.spool.memory_budget();
        let mut sink = None;
        let mut events = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            reader.push(&chunk, &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Part { .. } => {
                        if objects.len() >= self.limits.study_instances {
                            return Err(Error::TooLarge("[limits] study_instances"));
                        }
                        sink = Some(Sink::new(&self.spool, budget));
                    }
                    Event::Data(bytes) => {
                        if let Some(sink) = &mut sink {
                            sink.write(&bytes).await?;
                        }
                    }
                    Event::PartEnd => {
                        if let Some(sink) = sink.take() {
                            let (object, in_memory) = sink.finish().await?;
                            budget = budget.saturating_sub(in_memory);
                            objects.push(object);
                        }
                    }
                }
            }
        }
        reader.finish()?;
        Ok(objects)
    }
}
