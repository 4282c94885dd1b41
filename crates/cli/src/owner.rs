//! The default owner label, by which people find the holder of a lock that they wait for.

use crate::env::set;

/// Maximum length of a default label, in bytes. It is half of what the store accepts.
const LENGTH_MAX: usize = 128;

/// Maximum length of one value in a label, in bytes. A longer user name is not a name.
const VALUE_MAX: usize = 64;

/// A system that describes the work of this process in environment variables.
struct Source {
    /// Variable without which the process does not belong to this system.
    required: &'static str,
    /// Parts of the label: text, and the variable that follows it. A part is left out without its variable.
    parts: &'static [(&'static str, &'static str)],
}

/// The sources in the order of precedence. CI systems come first, because their jobs may run in Kubernetes or ECS.
const SOURCES: &[Source] = &[
    Source {
        required: "GITHUB_RUN_ID",
        parts: &[("", "GITHUB_ACTOR"), (", GitHub run ", "GITHUB_RUN_ID"), (" of ", "GITHUB_REPOSITORY")],
    },
    Source {
        required: "CI_JOB_ID",
        parts: &[("", "GITLAB_USER_LOGIN"), (", GitLab job ", "CI_JOB_ID"), (" of ", "CI_PROJECT_PATH")],
    },
    Source {
        required: "BUILDKITE_BUILD_NUMBER",
        parts: &[
            ("", "BUILDKITE_BUILD_CREATOR"),
            (", Buildkite build ", "BUILDKITE_BUILD_NUMBER"),
            (" of ", "BUILDKITE_PIPELINE_SLUG"),
        ],
    },
    Source {
        required: "CIRCLE_BUILD_NUM",
        parts: &[("", "CIRCLE_USERNAME"), (", CircleCI job ", "CIRCLE_BUILD_NUM"), (" of ", "CIRCLE_PROJECT_REPONAME")],
    },
    // Contains the system, the job and the number of the build.
    Source { required: "BUILD_TAG", parts: &[("", "BUILD_TAG")] },
    Source { required: "POD_NAME", parts: &[("pod ", "POD_NAME"), (" of ", "POD_NAMESPACE")] },
];

/// Variable of Amazon ECS: a URL that ends with the ID of the container.
const ECS: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// Returns the default label: that of the CI job, the pod or the container, else the name of the user.
pub fn default_label(env: impl Fn(&str) -> Option<String>) -> String {
    let label = SOURCES.iter().find(|source| set(&env, source.required).is_some()).map(|source| job(source, &env));
    let label = label.or_else(|| container(&env)).unwrap_or_else(|| user(&env));
    shortened(label.trim_start_matches(", "), LENGTH_MAX).to_owned()
}

fn job(source: &Source, env: impl Fn(&str) -> Option<String>) -> String {
    let part = |(text, variable): &(&str, &str)| {
        set(&env, variable).map(|value| format!("{text}{}", shortened(&value, VALUE_MAX)))
    };
    source.parts.iter().filter_map(part).collect()
}

fn container(env: impl Fn(&str) -> Option<String>) -> Option<String> {
    let url = set(env, ECS)?;
    let id = url.rsplit('/').next().filter(|id| !id.is_empty())?;
    Some(format!("ECS container {}", shortened(id, VALUE_MAX)))
}

fn user(env: impl Fn(&str) -> Option<String>) -> String {
    let name = |variable| set(&env, variable).filter(|name| name.len() <= VALUE_MAX);
    name("USER").or_else(|| name("LOGNAME")).unwrap_or_else(|| "dynamo-lock".to_owned())
}

/// Returns the beginning of the text, at most `bytes` long.
fn shortened(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(variables: &[(&str, &str)]) -> String {
        let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        default_label(value)
    }

    #[test]
    fn label_describes_the_ci_job_the_pod_or_the_user() {
        let user = ("USER", "runner");
        let github = [user, ("GITHUB_ACTOR", "octocat"), ("GITHUB_RUN_ID", "17"), ("GITHUB_REPOSITORY", "o/r")];
        assert_eq!(label(&github), "octocat, GitHub run 17 of o/r");
        let gitlab = [user, ("GITLAB_USER_LOGIN", "ann"), ("CI_JOB_ID", "5"), ("CI_PROJECT_PATH", "g/p")];
        assert_eq!(label(&gitlab), "ann, GitLab job 5 of g/p");
        let buildkite = [("BUILDKITE_BUILD_NUMBER", "9"), ("BUILDKITE_PIPELINE_SLUG", "web")];
        assert_eq!(label(&buildkite), "Buildkite build 9 of web");
        let circle = [("CIRCLE_BUILD_NUM", "3"), ("CIRCLE_USERNAME", "bob"), ("CIRCLE_PROJECT_REPONAME", "app")];
        assert_eq!(label(&circle), "bob, CircleCI job 3 of app");
        assert_eq!(label(&[user, ("BUILD_TAG", "jenkins-deploy-7")]), "jenkins-deploy-7");
        assert_eq!(label(&[user, ("POD_NAME", "web-1"), ("POD_NAMESPACE", "prod")]), "pod web-1 of prod");
        assert_eq!(label(&[(ECS, "http://169.254.170.2/v4/0123-456")]), "ECS container 0123-456");
        assert_eq!(label(&[user]), "runner");
        assert_eq!(label(&[("LOGNAME", "ann")]), "ann");
        assert_eq!(label(&[]), "dynamo-lock");
    }

    /// A shell on a CI machine can have some of the variables without belonging to a job.
    #[test]
    fn incomplete_or_empty_variables_select_the_user() {
        let user = ("USER", "ann");
        assert_eq!(label(&[user, ("GITHUB_ACTOR", "octocat"), ("GITHUB_REPOSITORY", "o/r")]), "ann");
        assert_eq!(label(&[user, ("GITHUB_RUN_ID", ""), ("POD_NAME", "")]), "ann");
        assert_eq!(label(&[user, (ECS, "http://169.254.170.2/v4/")]), "ann");
    }

    #[test]
    fn label_is_bounded_and_ends_between_characters() {
        let long = "ü".repeat(200);
        let github = [("GITHUB_ACTOR", &long[..]), ("GITHUB_RUN_ID", &long[..]), ("GITHUB_REPOSITORY", &long[..])];
        let label_of_job = label(&github);
        assert!((LENGTH_MAX - 1..=LENGTH_MAX).contains(&label_of_job.len()), "{label_of_job}");
        assert_eq!(label(&[("USER", &long)]), "dynamo-lock");
    }
}
