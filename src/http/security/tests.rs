use super::*;
use crate::config::web_config;
use std::fs;

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

struct World {
    dir: tempfile::TempDir,
    guard: Guard,
    keeper: Keeper,
    metrics: SelfMetrics,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["server.pem", "server.key"] {
            fs::copy(tls_file(name), dir.path().join(name)).unwrap();
        }
        let file = dir.path().join("web.yaml");
        fs::write(&file, "tls_server_config: {cert_file: server.pem, key_file: server.key}").unwrap();
        let mut guard = Guard::new(Some((&file, web_config))).unwrap();
        let keeper = guard.keeper.take().unwrap();
        Self { dir, guard, keeper, metrics: SelfMetrics::default() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Two looks see a change.
    fn look(&mut self) -> Arc<Security> {
        self.keeper.look(&self.metrics);
        self.keeper.look(&self.metrics);
        Arc::clone(&self.guard.current.borrow())
    }

    fn gauge(&self) -> Option<f64> {
        self.metrics.value(&families::WEB_CONFIG_RELOAD_SUCCESSFUL, &[])
    }
}

#[test]
fn each_file_is_read_again_when_it_changed() {
    let mut world = World::new();
    let first = Arc::clone(&world.guard.current.borrow());
    assert!(Arc::ptr_eq(&first, &world.look()), "nothing changed");
    // The same certificate with another line below it is another file.
    let pem = fs::read_to_string(tls_file("server.pem")).unwrap();
    world.write("server.pem", &format!("{pem}\n# renewed\n"));
    let second = world.look();
    assert!(!Arc::ptr_eq(&first, &second) && second.tls.is_some());
    assert_eq!(world.gauge(), Some(1.0));
    let hash = bcrypt::hash("x", 4).unwrap();
    world.write("web.yaml", &format!("basic_auth_users: {{alice: {hash}}}"));
    let third = world.look();
    assert!(third.tls.is_none() && third.users.count() == 1);
    assert_eq!(world.keeper.files.len(), 1, "files that are named no more are of no interest");
}

#[test]
fn what_cannot_be_used_changes_nothing_and_says_so() {
    let mut world = World::new();
    let first = Arc::clone(&world.guard.current.borrow());
    let good = "tls_server_config: {cert_file: server.pem, key_file: server.key}";
    for (name, text) in [("web.yaml", "tls_server_config: {cert_file: server.pem}"), ("server.key", "no key")] {
        let before = fs::read_to_string(world.dir.path().join(name)).unwrap();
        world.write(name, text);
        assert!(Arc::ptr_eq(&first, &world.look()), "{name}");
        assert_eq!(world.gauge(), Some(0.0), "{name}");
        world.write(name, &before);
        assert!(Arc::ptr_eq(&first, &world.look()), "{name} is as before");
        assert_eq!(world.gauge(), Some(1.0), "{name}");
    }
    fs::remove_file(world.dir.path().join("web.yaml")).unwrap();
    assert!(Arc::ptr_eq(&first, &world.look()), "gone");
    assert_eq!(world.gauge(), Some(0.0));
    // What it needs comes later.
    world.write("web.yaml", "tls_server_config: {cert_file: new.pem, key_file: server.key}");
    assert!(Arc::ptr_eq(&first, &world.look()) && world.gauge() == Some(0.0));
    world.write("new.pem", &fs::read_to_string(tls_file("server.pem")).unwrap());
    assert!(!Arc::ptr_eq(&first, &world.look()) && world.gauge() == Some(1.0));
    world.write("web.yaml", good);
    assert!(world.look().tls.is_some());
}

#[test]
fn errors_name_file_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yaml");
    fs::write(dir.path().join("empty"), "").unwrap();
    let pem = |name: &str| tls_file(name).display().to_string();
    let (server, key) = (pem("server.pem"), pem("server.key"));
    for (yaml, words) in [
        (
            format!("cert_file: gone.pem, key_file: {key}"),
            "tls_server_config.cert_file: cannot read DIR/gone.pem: No such file",
        ),
        (
            format!("cert_file: {server}, key_file: gone"),
            "tls_server_config.key_file: cannot read DIR/gone: No such file",
        ),
        (
            format!("cert_file: empty, key_file: {key}"),
            "tls_server_config.cert_file: no certificate in PEM in DIR/empty",
        ),
        (format!("cert_file: {server}, key_file: {server}"), "tls_server_config.key_file: no key in PEM in /"),
        (format!("cert_file: {}, key_file: {key}", pem("ca.pem")), "cannot be used together: "),
        (
            format!(
                "cert_file: {server}, key_file: {key}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: empty"
            ),
            "tls_server_config.client_ca_file: no certificate in PEM in DIR/empty",
        ),
        (
            format!(
                "cert_file: {server}, key_file: {key}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]"
            ),
            "leave nothing to speak",
        ),
    ] {
        fs::write(&file, format!("tls_server_config: {{{yaml}}}")).unwrap();
        let error = Guard::new(Some((&file, web_config))).err().expect("an error");
        let said = with_causes(&error).replace(&dir.path().display().to_string(), "DIR");
        assert!(said.starts_with("DIR/web.yaml: tls_server_config") && said.contains(words), "{said}");
    }
}
