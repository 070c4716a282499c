"""Runs each VM's custom data as a process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from local.azure.cloud import Cloud
from local.azure.compute.vm import VirtualMachine
from local.azure.compute.vm_validation import decode_custom_data
from local.azure.vm import supervisor
from local.azure.vm.imds import Imds

_COMMANDS = Path(__file__).parent / "commands"
_COMMAND_NAMES = {
    "apt-get": ("apt-get", "apt"),
    "sudo": ("sudo",),
    "shutdown": ("shutdown", "poweroff", "halt", "reboot"),
    "systemctl": ("systemctl",),
    "cloud-init": ("cloud-init",),
    "hostname": ("hostname",),
    "dpkg": ("dpkg",),
    "no-op": ("add-apt-repository", "timedatectl", "useradd", "usermod", "hostnamectl", "snap",
                "apt-key", "update-ca-certificates", "ufw", "swapon", "sysctl", "mount", "umount"),
}  # fmt: skip
"""Script -> the commands that it replaces; $0 tells it which one was called."""

_UNREACHABLE = "http://127.0.0.1:9"  # the discard port, where nothing listens


class VmRunner:
    """Starts and stops what runs inside the VMs. This one runs nothing."""

    async def start(
        self, vm: VirtualMachine, *, outbound: bool, stopped: Callable[[], None]
    ) -> None:
        """Start the VM. `stopped` is called when it shuts itself down."""

    async def stop(self, vm: VirtualMachine) -> None:
        """Power the VM off, and remove its directory. Idempotent."""

    def console(self, vm: VirtualMachine) -> bytes:
        """The console output of its custom data, also after the VM has stopped."""
        return b""

    async def close(self) -> None:
        """Power all VMs off."""


class _VmProcess:
    """A running VM: its supervisor process, its directory and its metadata service."""

    def __init__(
        self,
        directory: Path,
        imds: Imds,
        process: subprocess.Popen[bytes],
        stopped: Callable[[], None],
    ) -> None:
        self.directory, self.imds, self._process = directory, imds, process
        self._stopped = stopped
        self._ended = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    async def power_off(self) -> None:
        """Close the supervisor's stdin, which makes it kill all descendants and exit."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._ended.wait()

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._ended.set()
        self._stopped()


class ProcessVmRunner(VmRunner):
    """Runs VMs in `{state}/vms/{vm}`. Consoles of deleted VMs are kept in `{state}/consoles`."""

    def __init__(self, cloud: Cloud, bundle: Path, arm: Callable[[], str]) -> None:
        if sys.platform != "linux":
            raise RuntimeError("Running VMs as processes requires Linux. Use --machines none.")
        self._cloud, self._bundle, self._arm = cloud, bundle, arm
        state = cloud.options.state
        self._vms, self._consoles = state / "vms", state / "consoles"
        self._bin = state / "bin"
        self._processes: dict[str, _VmProcess] = {}
        # A killed simulator leaves the directories of its VMs, which contain their custom data.
        shutil.rmtree(self._vms, ignore_errors=True)
        for directory in (self._vms, self._consoles, self._bin):
            directory.mkdir(parents=True, exist_ok=True)
        _install_commands(self._bin)

    async def start(
        self, vm: VirtualMachine, *, outbound: bool, stopped: Callable[[], None]
    ) -> None:
        imds = Imds(self._cloud, vm)
        try:
            port = await imds.start()
        except BaseException:
            await imds.stop()
            raise
        # No await from here on: a deletion must not run between the start and its registration.
        environment = self._environment(vm, port, outbound=outbound)
        self._processes[vm.target.key] = self._spawn(vm, imds, environment, stopped)

    def _spawn(
        self,
        vm: VirtualMachine,
        imds: Imds,
        environment: dict[str, str],
        stopped: Callable[[], None],
    ) -> _VmProcess:
        directory = self._directory(vm)
        (directory / "tmp").mkdir(parents=True)
        console = directory / "console.log"
        script = _write_script(directory, vm.properties["vmId"], vm.custom_data, console)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(supervisor.__file__)), str(console), str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=directory, start_new_session=True,
            env=environment,
        )  # fmt: skip
        return _VmProcess(directory, imds, process, stopped)

    def _directory(self, vm: VirtualMachine) -> Path:
        return self._vms / vm.name

    def _saved_console(self, vm: VirtualMachine) -> Path:
        return self._consoles / f"{vm.name}.log"

    async def stop(self, vm: VirtualMachine) -> None:
        process = self._processes.pop(vm.target.key, None)
        if process is None:
            return
        await process.power_off()
        await process.imds.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.move(process.directory / "console.log", self._saved_console(vm))
        await asyncio.to_thread(shutil.rmtree, process.directory, ignore_errors=True)

    def console(self, vm: VirtualMachine) -> bytes:
        process = self._processes.get(vm.target.key)
        file = self._saved_console(vm) if process is None else process.directory / "console.log"
        return file.read_bytes() if file.exists() else b""

    async def close(self) -> None:
        vms = [r for r in self._cloud.store if r.target.key in self._processes]
        await asyncio.gather(*(self.stop(vm) for vm in vms if isinstance(vm, VirtualMachine)))
        shutil.rmtree(self._vms, ignore_errors=True)

    def _environment(self, vm: VirtualMachine, port: int, *, outbound: bool) -> dict[str, str]:
        options, directory = self._cloud.options, self._directory(vm)
        path = [self._bin, *options.machine_path, "/usr/bin", "/bin"]
        environment = {
            "PATH": ":".join(str(part) for part in path),
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            "USER": "root",
            "LOGNAME": "root",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{port}",
            "AZURE_RESOURCE_MANAGER_ENDPOINT": self._arm(),
            "LOCAL_AZURE_HOSTNAME": vm.name,
            # Installing outside a virtual environment would modify this machine; Ubuntu refuses it too.
            "PIP_REQUIRE_VIRTUALENV": "1",
        }
        for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            environment[name] = str(self._bundle)
        environment |= options.machine_env
        return environment if outbound else _without_outbound(environment)


def _without_outbound(environment: dict[str, str]) -> dict[str, str]:
    """The environment in a private subnet: HTTPS fails, the metadata service works."""
    kept = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
    return kept | {"https_proxy": _UNREACHABLE, "HTTPS_PROXY": _UNREACHABLE}


def _write_script(directory: Path, vm_id: str, custom_data: str | None, console: Path) -> Path:
    """Write the custom data to an executable file. Like cloud-init, ignore data without a `#!` line."""
    content = decode_custom_data(custom_data) if custom_data else b"#!/bin/sh\n"
    console.touch()
    if not content.startswith(b"#!"):
        console.write_text("cloud-init: unhandled non-multipart (text/x-not-multipart) userdata\n")
        content = b"#!/bin/sh\n"
    # cloud-init's layout, below the VM's directory.
    cloud = directory / "var" / "lib" / "cloud"
    script = cloud / "instances" / vm_id / "scripts" / "part-001"
    script.parent.mkdir(parents=True)
    (cloud / "instance").symlink_to(Path("instances") / vm_id)
    for file in (script, script.parents[1] / "user-data.txt"):
        file.touch(mode=0o700)
        file.write_bytes(content)
    return cloud / "instance" / "scripts" / script.name


def _install_commands(directory: Path) -> None:
    """Install the stand-in commands under every name that they replace, and a plain Python."""
    for script, names in _COMMAND_NAMES.items():
        for name in names:
            target = directory / name
            target.unlink(missing_ok=True)
            shutil.copyfile(_COMMANDS / script, target)
            target.chmod(0o755)
    # The base interpreter, not that of our virtual environment; without its pip.
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for name in ("python3", "python", f"python3.{sys.version_info.minor}"):
        link = directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(base)
