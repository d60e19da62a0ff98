//! Reading the queries out of Grafana dashboards, with their variables replaced the way Grafana would.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// One query of a panel or of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Title of the panel, or name of the variable.
    pub title: String,
    /// The expression as Prometheus gets it.
    pub expression: String,
}

/// The queries of every dashboard in a directory.
///
/// # Errors
/// When there is no dashboard, or one is not JSON.
pub fn queries(directory: &Path) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let dashboard: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            panels(&dashboard["panels"], &mut queries);
            variables(&dashboard["templating"]["list"], &mut queries);
        }
    }
    ensure!(!queries.is_empty(), "no dashboard in {}", directory.display());
    Ok(queries)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Collects from panels and from the panels folded into rows.
fn panels(list: &Value, queries: &mut Vec<Query>) {
    for panel in items(list) {
        for target in items(&panel["targets"]) {
            if let Some(expression) = target["expr"].as_str() {
                let title = panel["title"].as_str().unwrap_or_default().to_owned();
                queries.push(Query { title, expression: substitute(expression) });
            }
        }
        panels(&panel["panels"], queries);
    }
}

/// `label_values(selector, label)` is Grafana's own: asked here as the values of that label.
fn variables(list: &Value, queries: &mut Vec<Query>) {
    for variable in items(list) {
        let definition = variable["query"]["query"].as_str().unwrap_or_default();
        let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        if let Some((selector, label)) = inner.and_then(|inner| inner.rsplit_once(',')) {
            let expression = format!("count by ({}) ({})", label.trim(), substitute(selector));
            let name = variable["name"].as_str().unwrap_or_default();
            queries.push(Query { title: format!("variable {name}"), expression });
        }
    }
}

/// Grafana's time variables become durations, every other variable "all", as its regular expression.
fn substitute(expression: &str) -> String {
    let mut out = String::new();
    let mut rest = expression;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (name, tail) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((inside, tail)) => (inside.split(':').next().unwrap_or(inside), tail),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                after.split_at(end)
            }
        };
        out.push_str(match name {
            "__rate_interval" | "__interval" => "10s",
            "__range" => "1m",
            _ => ".*",
        });
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_what_grafana_makes_of_them() {
        assert_eq!(
            substitute("rate(a{i=~\"$instance\", p=~\"${port:regex}\"}[$__rate_interval])"),
            "rate(a{i=~\".*\", p=~\".*\"}[10s])"
        );
    }

    #[test]
    fn rows_and_variables_are_not_forgotten() {
        let dashboard = serde_json::json!({
            "panels": [{ "title": "row", "panels": [{ "title": "inner", "targets": [{ "expr": "up" }] }] }],
            "templating": { "list": [{ "name": "job", "query": { "query": "label_values(up, job)" } }] },
        });
        let mut queries = Vec::new();
        panels(&dashboard["panels"], &mut queries);
        variables(&dashboard["templating"]["list"], &mut queries);
        let found: Vec<_> = queries.iter().map(|q| (q.title.as_str(), q.expression.as_str())).collect();
        assert_eq!(found, [("inner", "up"), ("variable job", "count by (job) (up)")]);
    }
}
