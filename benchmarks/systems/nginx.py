"""nginx with buffering off: the floor. It moves bytes, and does nothing of what the others do.

Configured as its documentation asks for streams: ``proxy_buffering off``, HTTP/1.1 and an empty ``Connection`` header
upstream with a pool of idle connections. ``reset_timedout_connection`` and ``send_timeout`` are its stalled-reader
policy. One worker, because the proxy has one core. Its access log is on, as the relay's is.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from benchmarks.stream import Target
from benchmarks.systems.base import (
    UPSTREAM_KEY,
    NotMeasuredError,
    Running,
    System,
    Variant,
    certificate,
    free_port,
    run_setup,
)

_CONFIGURATION = """
worker_processes 1; daemon off; pid nginx.pid; error_log error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log access.log;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_body_buffer_size 256k; client_max_body_size 32m;
  keepalive_requests 1000000; send_timeout {stall}s; reset_timedout_connection on;
  upstream paced {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port}{ssl} backlog=4096;
    {certificate}
    location / {{
      proxy_pass http://paced; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 3600s;
    }}
  }}
}}
"""
_DEFAULT_SEND_TIMEOUT_SECONDS = 60


class Nginx(System):
    name = "nginx"
    has_tls = True

    def prepare(self) -> str:
        if shutil.which("nginx") is None:
            if os.geteuid() != 0 or shutil.which("apt-get") is None:
                raise NotMeasuredError("nginx is not installed, and installing it needs root and apt-get")
            run_setup(["apt-get", "update"])
            run_setup(["apt-get", "install", "-y", "nginx-light"])
        printed = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
        return printed.strip().rpartition("/")[2]

    def start(self, upstream_port: int, variant: Variant) -> Running:
        directory, port = self.fresh_directory(), free_port()
        tls = ""
        if variant.tls:
            cert, key = certificate(self.work)
            tls = f"ssl_certificate {cert}; ssl_certificate_key {key};"
        (directory / "nginx.conf").write_text(
            _CONFIGURATION.format(
                upstream=upstream_port,
                port=port,
                ssl=" ssl" if variant.tls else "",
                certificate=tls,
                stall=variant.stall_seconds or _DEFAULT_SEND_TIMEOUT_SECONDS,
            )
        )
        target = Target(port, (("x-api-key", UPSTREAM_KEY),), tls=variant.tls)
        directory.chmod(0o755)  # a worker of root's nginx is not root
        return self.launch(directory, ["nginx", "-p", directory, "-c", "nginx.conf"], target)
