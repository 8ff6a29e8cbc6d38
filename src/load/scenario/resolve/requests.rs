//! From a request that is written out to what is sent, and what is expected of it.

use toml::Spanned;

use super::super::request::{ExpectFile, RequestFile};
use super::super::{Class, Fixed};
use super::{Data, Resolver, index};
use crate::file_error::FileError;
use crate::load::expect::Expect;

impl Resolver<'_> {
    pub(super) fn request(
        &self,
        request: Spanned<RequestFile>,
        classes: &mut Vec<Class>,
        data: Data,
        in_turn: bool,
    ) -> Result<Fixed, FileError> {
        let request = request.into_inner();
        let name = request.name.get_ref();
        if name.is_empty() || classes.iter().any(|c| &c.name == name) {
            return Err(self.at(request.name.span(), "a request needs a name that no other request or class has"));
        }
        let mut tools = Vec::new();
        for tool in request.tool {
            if let Err(e) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&tool.get_ref().schema) {
                return Err(self.at(tool.span(), format!("the tool's `schema` is no JSON object: {e}")));
            }
            tools.push(tool.into_inner());
        }
        let texts = match (request.prompt, &request.class, &request.get) {
            (Some(prompt), None, None) => vec![prompt],
            (None, Some(class), None) => {
                let known = classes[..data.prompts].iter().find(|c| &c.name == class.get_ref());
                known.ok_or_else(|| self.at(class.span(), "there is no class of prompts of this name"))?.texts.clone()
            }
            (None, None, Some(_)) => vec![String::new()],
            _ => return Err(self.at(request.name.span(), "a request has one of `prompt`, `class` and `get`")),
        };
        let get = request.get.as_ref().map(|path| self.path(path)).transpose()?;
        let expect =
            request.expect.as_ref().map(|e| self.expect(e, get.as_deref(), request.stream, in_turn)).transpose()?;
        let class = index(classes.len());
        classes.push(Class { name: name.clone(), texts });
        Ok(Fixed {
            class,
            get,
            auth: request.auth,
            expect,
            system: request.system,
            model: request.model,
            stream: request.stream,
            max_tokens: request.max_tokens,
            deadline: request.deadline.map(|t| t.0),
            tools,
        })
    }

    /// What an answer has to be; what could never be looked at is refused.
    fn expect(
        &self,
        expect: &Spanned<ExpectFile>,
        get: Option<&str>,
        stream: bool,
        in_turn: bool,
    ) -> Result<Expect, FileError> {
        let (file, span) = (expect.get_ref(), expect.span());
        if (file.order || file.incremental) && !stream {
            return Err(self.at(span, "`order` and `incremental` are for streams"));
        }
        if !file.delta.is_empty() && (get.is_none() || !in_turn) {
            return Err(self.at(span, "`delta` is for a `get` of `load.steps`: counters are read before and after"));
        }
        if !file.json.is_empty() && stream {
            return Err(self.at(span, "`json` is for answers that are not streamed"));
        }
        let mut json = Vec::new();
        for (pointer, value) in &file.json {
            if !pointer.get_ref().starts_with('/') {
                return Err(self.at(pointer.span(), "this is no JSON pointer; write it like \"/status\""));
            }
            let value = serde_json::to_value(value).map_err(|e| self.at(pointer.span(), e.to_string()))?;
            json.push((pointer.get_ref().clone(), value));
        }
        Ok(Expect {
            statuses: file.status.as_ref().map(|statuses| statuses.0.clone()).unwrap_or_default(),
            json,
            error_shape: file.error_shape,
            order: file.order,
            incremental: file.incremental,
            delta: file.delta.iter().map(|(name, moved)| (name.get_ref().clone(), *moved)).collect(),
        })
    }
}
