//! Models under test, by their full names `provider/model`, each with the list that it came from.

/// The default model, by the alias that every client version knows.
pub const DEFAULT_MODEL: &str = "sonnet";

/// A model under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name at the gateway, without the target's own `provider/`.
    pub name: String,
    /// `provider/model`.
    pub full_name: String,
    /// Where the name came from.
    pub source: String,
}

/// The lists that models come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What the target's file names, or the default.
    DefaultList,
    /// A variable that replaces that list.
    EnvironmentOverride,
    /// What is appended to either.
    ExtraList,
    /// What was asked for; nothing else is taken then.
    CommandLine,
}

impl Source {
    /// As reports say it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::DefaultList => "default list",
            Self::EnvironmentOverride => "environment override",
            Self::ExtraList => "extra list",
            Self::CommandLine => "command line",
        }
    }
}

/// Makes models of names: a name without a provider gets this one, duplicates collapse and the first wins.
pub fn models<'a>(provider: &str, names: impl IntoIterator<Item = (&'a str, Source)>) -> Vec<Model> {
    let prefix = format!("{provider}/");
    let mut models: Vec<Model> = Vec::new();
    for (name, source) in names {
        let full_name = if name.contains('/') { name.to_owned() } else { format!("{prefix}{name}") };
        if !models.iter().any(|m| m.full_name == full_name) {
            let name = name.strip_prefix(&prefix).unwrap_or(name).to_owned();
            models.push(Model { name, full_name, source: source.words().to_owned() });
        }
    }
    models
}

/// The models that were asked for, or else the default.
pub fn asked_or_default(provider: &str, asked: &[String]) -> Vec<Model> {
    if asked.is_empty() {
        return models(provider, [(DEFAULT_MODEL, Source::DefaultList)]);
    }
    models(provider, asked.iter().map(|name| (name.as_str(), Source::CommandLine)))
}
