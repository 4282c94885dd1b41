//! The templates of `table print` describe exactly the table that `table create` makes.
//!
//! Each template is parsed into the form of the requests that `table create` sends, and compared with them field by
//! field. A property that a parser does not know fails the test.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Map, Value as Json, json};

use crate::support::{Finished, Fixture, Running, recording_server, report_skipped};

/// Name of the environment variable with the folder of cfn-lint and the AWS command line, and of the Python for them.
const TOOLS: [&str; 2] = ["DYNAMO_LOCK_TEST_AWS_TOOLS", "DYNAMO_LOCK_TEST_PYTHON"];

/// Options of the table, with names and values that need quoting in some of the languages.
const OPTIONS: [&[&str]; 4] = [
    &[],
    &["--provisioned", "3,4", "--deletion-protection"],
    &["--tag", "team=payments", "--tag", "cost center=42:a/b=c@d", "--tag", "empty="],
    &["--tag", r#"quotes='single' "double" \ back"#, "--tag", "variables=${a} %{b} $c `d` $(e)"],
];

/// Names of partition keys.
const KEYS: [&str; 3] = ["name", "id", r#"it's "a" ${key}\"#];

/// The requests that create a table: `CreateTable`, and the specification of `UpdateTimeToLive`.
#[derive(Debug, PartialEq)]
struct Requests {
    creation: Json,
    ttl: Json,
}

/// A server that accepts all requests, and the table at it.
pub struct Case {
    pub fixture: Fixture,
    requests: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
    store: String,
    options: &'static [&'static str],
}

impl Case {
    pub fn all() -> impl Iterator<Item = Self> {
        KEYS.into_iter().flat_map(|key| OPTIONS.map(|options| Self::new(key, options)))
    }

    fn new(key: &str, options: &'static [&'static str]) -> Self {
        let (fixture, requests) =
            recording_server("200 OK", r#"{"Table":{"TableName":"Lock","TableStatus":"ACTIVE"}}"#);
        let key: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let store = format!("{}&partition_key={key}", fixture.store());
        Self { fixture, requests, store, options }
    }

    /// Returns the requests that `table create` sends.
    fn created(&self) -> Requests {
        let arguments = [&["table", "create", "--store", &self.store], self.options].concat();
        self.fixture.run(&arguments).exits_with(0);
        self.recorded()
    }

    /// Returns the requests since the last call.
    fn recorded(&self) -> Requests {
        let bodies = std::mem::take(&mut *self.requests.lock().unwrap());
        let bodies: Vec<Json> = bodies.iter().map(|body| serde_json::from_str(body).expect("JSON")).collect();
        let with = |key: &str| bodies.iter().find(|body| body.get(key).is_some()).cloned().unwrap_or_default();
        let ttl = with("TimeToLiveSpecification");
        Requests { creation: sorted(with("KeySchema")), ttl: ttl["TimeToLiveSpecification"].clone() }
    }

    pub fn print(&self, tool: &str, further: &[&str]) -> String {
        let arguments = [&["table", "print", tool, "--store", &self.store], self.options, further].concat();
        let finished = self.fixture.run(&arguments).exits_with(0);
        assert_eq!(finished.stderr, "");
        finished.stdout
    }
}

/// Sorts the tags, whose order has no meaning.
fn sorted(mut creation: Json) -> Json {
    if let Some(tags) = creation.get_mut("Tags").and_then(Json::as_array_mut) {
        tags.sort_by_key(|tag| tag["Key"].to_string());
    }
    creation
}

/// Collects the properties of a table from a template.
#[derive(Default)]
struct Template {
    creation: Map<String, Json>,
    ttl: Json,
    tags: Vec<Json>,
}

impl Template {
    /// Sets the partition key, which two parameters name.
    fn key(&mut self, name: &str) {
        self.set("KeySchema", json!([{ "AttributeName": name, "KeyType": "HASH" }]));
    }

    fn attribute(&mut self, name: &str, kind: &str) {
        self.set("AttributeDefinitions", json!([{ "AttributeName": name, "AttributeType": kind }]));
    }

    fn set(&mut self, parameter: &str, value: Json) {
        assert_eq!(self.creation.insert(parameter.to_owned(), value), None, "{parameter} is set twice");
    }

    fn units(&mut self, direction: &str, units: Json) {
        let throughput = self.creation.entry("ProvisionedThroughput").or_insert_with(|| json!({}));
        throughput[format!("{direction}CapacityUnits")] = units;
    }

    fn ttl(&mut self, attribute: &str) {
        self.ttl = json!({ "AttributeName": attribute, "Enabled": true });
    }

    fn tag(&mut self, key: &str, value: &str) {
        self.tags.push(json!({ "Key": key, "Value": value }));
    }

    fn requests(mut self) -> Requests {
        if !self.tags.is_empty() {
            let tags = std::mem::take(&mut self.tags);
            self.set("Tags", Json::Array(tags));
        }
        Requests { creation: sorted(Json::Object(self.creation)), ttl: self.ttl }
    }
}

/// Parses the resource. The language is a subset of HCL: blocks, and arguments on one line.
fn parse_terraform(text: &str) -> Requests {
    let mut template = Template::default();
    let mut blocks: Vec<String> = Vec::new();
    let mut attribute = (String::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line == "}" {
            if blocks.pop().as_deref() == Some("attribute") {
                template.attribute(&attribute.0, &attribute.1);
            }
            continue;
        }
        if let Some(block) = line.strip_suffix('{') {
            blocks.push(block.trim().trim_end_matches('=').trim().to_owned());
            continue;
        }
        let (name, value) = split_argument(line);
        let (name, value) = (hcl_value(name), hcl_value(value));
        let text = || value.as_str().expect("a string").to_owned();
        let place: Vec<&str> = blocks.iter().skip(1).map(String::as_str).collect();
        match (&place[..], name.as_str().expect("a name")) {
            ([], "name") => template.set("TableName", value),
            ([], "billing_mode") => template.set("BillingMode", value),
            ([], "read_capacity") => template.units("Read", value),
            ([], "write_capacity") => template.units("Write", value),
            ([], "hash_key") => template.key(&text()),
            ([], "deletion_protection_enabled") => template.set("DeletionProtectionEnabled", value),
            (["attribute"], "name") => attribute.0 = text(),
            (["attribute"], "type") => attribute.1 = text(),
            (["ttl"], "attribute_name") => template.ttl(&text()),
            (["ttl"], "enabled") => assert_eq!(value, true),
            (["tags"], key) => template.tag(key, &text()),
            (["lifecycle"], "prevent_destroy") => assert_eq!(value, true),
            other => panic!("{other:?} is unknown"),
        }
    }
    assert!(text.contains("resource \"aws_dynamodb_table\" \"lock\" {") && blocks.is_empty());
    template.requests()
}

/// Splits an argument at the equals sign that follows its name, which may be quoted.
fn split_argument(line: &str) -> (&str, &str) {
    let start = if line.starts_with('"') { line.find("\" ").expect("the end of the name") + 1 } else { 0 };
    let at = start + line[start..].find('=').expect("an argument");
    (line[..at].trim(), line[at + 1..].trim())
}

/// Returns the value of a name or an expression. Strings have no templates in them.
fn hcl_value(text: &str) -> Json {
    if !text.starts_with('"') {
        return serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
    }
    let templates = text.replace("$${", "").replace("%%{", "");
    assert!(!templates.contains("${") && !templates.contains("%{"), "{text} has a template");
    serde_json::from_str(&text.replace("$${", "${").replace("%%{", "%{")).expect("a string")
}

fn parse_cloudformation(text: &str) -> Requests {
    let template: Json = serde_json::from_str(text).expect("JSON");
    let resources = template["Resources"].as_object().expect("resources");
    assert_eq!(resources.len(), 1);
    let resource = &resources["LockTable"];
    assert_eq!(resource["Type"], "AWS::DynamoDB::Table");
    // The names of the properties are those of the request.
    let mut creation = resource["Properties"].clone();
    let ttl = creation.as_object_mut().and_then(|all| all.remove("TimeToLiveSpecification")).unwrap_or_default();
    Requests { creation: sorted(creation), ttl }
}

/// Parses the construct. The language is a subset of TypeScript: one property or call on each line.
fn parse_cdk(text: &str) -> Requests {
    let mut template = Template::default();
    let string = |text: &str| serde_json::from_str::<String>(text).expect("a string");
    for line in text.lines().map(str::trim).skip_while(|line| *line != "super(scope, id, {").skip(1) {
        if let Some(arguments) = line.strip_prefix("Tags.of(this).add(").and_then(|rest| rest.strip_suffix(");")) {
            let [key, value]: [String; 2] = serde_json::from_str(&format!("[{arguments}]")).expect("two strings");
            template.tag(&key, &value);
            continue;
        }
        if line.chars().all(|c| "{}();".contains(c)) {
            continue;
        }
        let (name, value) = line.strip_suffix(',').and_then(|line| line.split_once(": ")).expect("a property");
        match (name, value) {
            ("tableName", name) => template.set("TableName", string(name).into()),
            ("partitionKey", key) => {
                let key =
                    key.strip_prefix("{ name: ").and_then(|key| key.strip_suffix(", type: AttributeType.STRING }"));
                let key = string(key.expect("a key of type string"));
                template.key(&key);
                template.attribute(&key, "S");
            }
            ("billingMode", mode) => {
                template.set("BillingMode", mode.strip_prefix("BillingMode.").expect("a mode").into());
            }
            ("readCapacity", units) => template.units("Read", serde_json::from_str(units).expect("a number")),
            ("writeCapacity", units) => template.units("Write", serde_json::from_str(units).expect("a number")),
            ("timeToLiveAttribute", attribute) => template.ttl(&string(attribute)),
            ("deletionProtection", on) => template.set("DeletionProtectionEnabled", (on == "true").into()),
            ("removalPolicy", "RemovalPolicy.RETAIN") => {}
            other => panic!("{other:?} is unknown"),
        }
    }
    template.requests()
}

/// Runs the script with a stub of `aws` that prints its arguments, and parses them.
fn parse_aws_cli(fixture: &Fixture, text: &str) -> Requests {
    let stub = "aws() { printf '%s\\0' \"$@\"; printf '\\n'; }\n";
    let finished = fixture.run_script(&format!("{stub}{text}")).exits_with(0);
    let mut all = Requests { creation: json!({}), ttl: Json::Null };
    let mut operations = Vec::new();
    for call in finished.stdout.lines() {
        let words: Vec<&str> = call.split('\0').collect();
        let options = words.iter().position(|word| word.starts_with("--")).expect("options");
        operations.push(words[..options].join(" "));
        let target = if words[1] == "create-table" { &mut all.creation } else { &mut json!({}) };
        let mut words = words[options..].iter().filter(|word| !word.is_empty());
        while let Some(option) = words.next() {
            let option = option.strip_prefix("--").expect("an option");
            match option {
                "deletion-protection-enabled" => target["DeletionProtectionEnabled"] = true.into(),
                "no-deletion-protection-enabled" => target["DeletionProtectionEnabled"] = false.into(),
                "region" => assert_eq!(words.next(), Some(&"us-east-1")),
                "endpoint-url" => assert!(words.next().is_some_and(|url| url.starts_with("http://127.0.0.1:"))),
                "time-to-live-specification" => {
                    all.ttl = serde_json::from_str(words.next().expect("a value")).expect("JSON");
                }
                option => {
                    let value = words.next().expect("a value");
                    target[parameter(option)] = serde_json::from_str(value).unwrap_or_else(|_| Json::from(*value));
                }
            }
        }
    }
    let expected = ["create-table", "wait table-exists", "update-time-to-live"];
    assert_eq!(operations, expected.map(|operation| format!("dynamodb {operation}")));
    Requests { creation: sorted(all.creation), ttl: all.ttl }
}

/// Returns the name of the parameter that an option of the AWS command line sets.
pub fn parameter(option: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    option.split('-').map(capital).collect()
}

#[test]
fn terraform_resource_is_the_created_table() {
    for case in Case::all() {
        assert_eq!(parse_terraform(&case.print("--terraform", &[])), case.created());
    }
}

#[test]
fn cloudformation_template_is_the_created_table() {
    for case in Case::all() {
        assert_eq!(parse_cloudformation(&case.print("--cloudformation", &[])), case.created());
    }
}

#[test]
fn cdk_construct_is_the_created_table() {
    for case in Case::all() {
        assert_eq!(parse_cdk(&case.print("--cdk", &[])), case.created());
    }
}

#[test]
fn aws_cli_script_makes_the_created_table() {
    for case in Case::all() {
        assert_eq!(parse_aws_cli(&case.fixture, &case.print("--aws-cli", &[])), case.created());
    }
}

/// Each parser notices a property that another table has.
#[test]
fn control_templates_of_other_tables_are_detected() {
    let [plain, other] = [OPTIONS[0], OPTIONS[1]].map(|options| Case::new("name", options));
    let created = plain.created();
    assert_ne!(created, other.created());
    assert_ne!(parse_terraform(&other.print("--terraform", &[])), created);
    assert_ne!(parse_cloudformation(&other.print("--cloudformation", &[])), created);
    assert_ne!(parse_cdk(&other.print("--cdk", &[])), created);
    assert_ne!(parse_aws_cli(&other.fixture, &other.print("--aws-cli", &[])), created);
    let without_ttl = plain.print("--terraform", &[]).replace("\"ttl\"", "\"expiresOn\"");
    assert_ne!(parse_terraform(&without_ttl), created);
}

#[test]
fn template_needs_one_tool_and_a_table() {
    let fixture = Fixture::new();
    fixture.run(&["table", "print", "--table", "Lock"]).exits_with(64).prints("--terraform");
    fixture.run(&["table", "print", "--table", "Lock", "--cdk", "--terraform"]).exits_with(64);
    fixture.run(&["table", "print", "--cdk"]).exits_with(64).prints("name a table with --table");
    for tag in ["team", "=v", "aws:team=a"] {
        fixture.run(&["table", "print", "--table", "Lock", "--cdk", "--tag", tag]).exits_with(64).prints("tag");
    }
    let twice = ["table", "print", "--table", "Lock", "--cdk", "--tag", "a=1", "--tag", "a=2"];
    fixture.run(&twice).exits_with(64).prints("the tag \"a\" is given twice");
    let arn = "arn:aws:dynamodb:us-west-2:123456789012:table/Lock";
    let template = fixture.run(&["table", "print", "--table", arn, "--cloudformation"]).exits_with(0).stdout;
    assert!(template.contains("\"TableName\": \"Lock\""), "{template}");
}

#[test]
fn terraform_accepts_the_format() {
    if !has_terraform("terraform_accepts_the_format") {
        return;
    }
    let format = format_terraform;
    for case in Case::all() {
        format(&case.print("--terraform", &[])).exits_with(0);
    }
    assert_ne!(format("resource \"a\" \"b\" {\n  a   = 1\n}\n").code, Some(0), "control: a wrong format");
    assert_ne!(format("resource \"a\" \"b\" {\n").code, Some(0), "control: a syntax error");
}

/// Returns whether Terraform is installed. Without it, reports the test as skipped.
pub fn has_terraform(test: &str) -> bool {
    let is_installed = Command::new("terraform").arg("-version").output().is_ok();
    if !is_installed {
        report_skipped(test, "terraform is not installed");
    }
    is_installed
}

/// Compares a text with the format of Terraform.
pub fn format_terraform(text: &str) -> Finished {
    let mut command = Command::new("terraform");
    command.args(["fmt", "-check", "-diff", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    Finished::from_output(child.wait_with_output().expect("it ends"))
}

/// Returns a command of a tool in Python. Without the tools, reports the test as skipped and returns `None`.
pub fn tool(test: &str, fixture: &Fixture, module: &str) -> Option<Command> {
    let [Some(folder), Some(python)] = TOOLS.map(|name| std::env::var(name).ok()) else {
        report_skipped(test, &format!("{} names no tools; `cargo xtask test` installs them", TOOLS[0]));
        return None;
    };
    let script =
        format!("import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; sys.exit(main())");
    Some(fixture.command_of(&python, &["-I", "-c", &script, &folder]))
}

/// Checks templates with cfn-lint. Without it, reports the test as skipped and returns `None`.
pub fn lint(test: &str, templates: &[String]) -> Option<Finished> {
    let fixture = Fixture::new();
    let mut command = tool(test, &fixture, "cfnlint.runner")?;
    command.args(["--include-checks", "I", "--"]);
    for (number, text) in templates.iter().enumerate() {
        let name = format!("{number}.json");
        std::fs::write(fixture.path(&name), text).expect("a file");
        command.arg(name);
    }
    Some(Running::spawn(command).wait())
}

#[test]
fn cfn_lint_accepts_every_template() {
    let lint = |templates: &[String]| lint("cfn_lint_accepts_every_template", templates);
    let templates: Vec<_> = Case::all().map(|case| case.print("--cloudformation", &[])).collect();
    let Some(finished) = lint(&templates) else { return };
    finished.exits_with(0);
    let wrong = lint(&[templates[0].replace("BillingMode", "BillingModes")]);
    assert!(wrong.is_some_and(|finished| finished.code != Some(0)), "control: an unknown property");
}

/// The real AWS command line sends the requests of `table create`.
#[test]
fn aws_cli_sends_the_requests_of_create() {
    // Each call takes about a second, so that not all cases are played.
    for (key, options) in [(KEYS[0], OPTIONS[1]), (KEYS[2], OPTIONS[3])] {
        let case = Case::new(key, options);
        let tool = tool("aws_cli_sends_the_requests_of_create", &case.fixture, "awscli.clidriver");
        let Some(tool) = tool else { return };
        let words: Vec<_> = std::iter::once(tool.get_program()).chain(tool.get_args()).collect();
        let words = words.iter().map(|word| format!("'{}'", word.to_string_lossy()));
        let aws = format!("aws() {{ {} \"$@\"; }}\n", words.collect::<Vec<_>>().join(" "));
        case.fixture.run_script(&(aws + &case.print("--aws-cli", &[]))).exits_with(0);
        assert_eq!(case.recorded(), case.created());
    }
}
