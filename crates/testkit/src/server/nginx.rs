//! nginx with its WebDAV modules over a folder: the strict one.

use std::fs;
use std::process::Command;

use super::{Server, installed_or_skip};

/// `WebDAV` that wants lengths, knows no MOVE without a full address, and answers listings by an
/// extension module.
#[derive(Debug)]
pub struct Nginx(Server);

impl Nginx {
    /// Starts one over an empty folder; `None` when it is not installed, see
    /// [`installed_or_skip`].
    ///
    /// # Panics
    /// When it is installed but does not start.
    pub fn start_or_skip() -> Option<Self> {
        let installed = installed_or_skip("nginx")?;
        let program = installed.join("nginx");
        let module = installed.join("ngx_http_dav_ext_module.so");
        let started = Server::start("nginx", |port, folder| {
            for name in ["data", "temp", "logs"] {
                fs::create_dir(folder.join(name))?;
            }
            let (config, folder) = (folder.join("config"), folder.display());
            let module = fs::canonicalize(&module)?;
            let user = if rustix::process::geteuid().is_root() {
                "user root;"
            } else {
                ""
            };
            fs::write(
                &config,
                format!(
                    "load_module {module};\n{user}\ndaemon off; master_process off;\n\
                     pid {folder}/pid; error_log stderr;\nevents {{}}\nhttp {{\n\
                     access_log off; client_body_temp_path {folder}/temp/body;\n\
                     proxy_temp_path {folder}/temp/proxy; fastcgi_temp_path {folder}/temp/fcgi;\n\
                     uwsgi_temp_path {folder}/temp/uwsgi; scgi_temp_path {folder}/temp/scgi;\n\
                     server {{ listen 127.0.0.1:{port}; root {folder}/data;\n\
                     client_max_body_size 0; create_full_put_path on;\n\
                     dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS;\n\
                     }} }}\n",
                    module = module.display()
                ),
            )?;
            let mut command = Command::new(&program);
            command.arg("-e").arg("stderr").arg("-c").arg(config);
            Ok(command)
        });
        Some(Self(started.unwrap_or_else(|error| panic!("{error:?}"))))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        &mut self.0
    }
}
