"""The guests: each VM's custom data runs as a process on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from local.azure.cloud import Cloud
from local.azure.compute.vm import VirtualMachine
from local.azure.compute.vm_validation import decode_custom_data
from local.azure.vm import supervisor
from local.azure.vm.imds import Imds

_COMMANDS = Path(__file__).parent / "commands"
_NAMES = {
    "az": ("az",),
    "apt-get": ("apt-get", "apt"),
    "sudo": ("sudo",),
    "shutdown": ("shutdown", "poweroff", "halt", "reboot"),
    "systemctl": ("systemctl",),
    "cloud-init": ("cloud-init",),
    "hostname": ("hostname",),
    "dpkg": ("dpkg",),
    "pretend": ("add-apt-repository", "timedatectl", "useradd", "usermod", "hostnamectl", "snap",
                "apt-key", "update-ca-certificates", "ufw", "swapon", "sysctl", "mount", "umount"),
}  # fmt: skip
"""Script -> the commands that it stands in for; it sees in $0 which one is meant."""

_NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


class Machines(Protocol):
    """What Compute asks of the guests."""

    async def start(
        self, vm: VirtualMachine, *, outbound: bool, stopped: Callable[[], None]
    ) -> None:
        """Turn the VM on. `stopped` is called when it turns itself off."""

    async def stop(self, vm: VirtualMachine) -> None:
        """Turn it off, and remove its directory. Nothing happens when it is not on."""

    def console(self, vm: VirtualMachine) -> bytes:
        """What its custom data has printed, also after it was turned off."""

    async def close(self) -> None:
        """Turn everything off."""


class NoMachines:
    """Guests that are only said to run."""

    async def start(
        self, vm: VirtualMachine, *, outbound: bool, stopped: Callable[[], None]
    ) -> None:
        """Nothing to do."""

    async def stop(self, vm: VirtualMachine) -> None:
        """Nothing to do."""

    def console(self, vm: VirtualMachine) -> bytes:
        """It prints nothing."""
        return b""

    async def close(self) -> None:
        """Nothing to do."""


class _Guest:
    """One running machine: its supervisor, its directory, and its metadata service."""

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
        asyncio.get_running_loop().add_reader(self._pidfd, self._has_ended)

    async def turn_off(self) -> None:
        """Close the pipe, on which the supervisor kills whatever runs and ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._ended.wait()

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._ended.set()
        self._stopped()


class ProcessMachines:
    """A process a VM, in `{state}/machines/{vm}`; its console stays in `{state}/consoles`."""

    def __init__(self, cloud: Cloud, bundle: Path, arm: Callable[[], str]) -> None:
        if sys.platform != "linux":
            raise RuntimeError("Machines as processes need Linux; use --machines none.")
        self._cloud, self._bundle, self._arm = cloud, bundle, arm
        state = cloud.options.state
        self._machines, self._consoles = state / "machines", state / "consoles"
        self._bin = state / "bin"
        self._guests: dict[str, _Guest] = {}
        # A simulator that was killed may have left some, with their custom data.
        shutil.rmtree(self._machines, ignore_errors=True)
        for directory in (self._machines, self._consoles, self._bin):
            directory.mkdir(parents=True, exist_ok=True)
        _install_commands(self._bin)

    async def start(
        self, vm: VirtualMachine, *, outbound: bool, stopped: Callable[[], None]
    ) -> None:
        """Run the custom data under a supervisor, with the VM's own metadata service."""
        imds = Imds(self._cloud, vm)
        try:
            port = await imds.start()
        except BaseException:
            await imds.stop()
            raise
        # Nothing waits from here on: a deletion cannot come between the start and its entry.
        environment = self._environment(vm, port, outbound=outbound)
        self._guests[vm.target.key] = self._spawn(vm, imds, environment, stopped)

    def _spawn(
        self,
        vm: VirtualMachine,
        imds: Imds,
        environment: dict[str, str],
        stopped: Callable[[], None],
    ) -> _Guest:
        directory = self._directory(vm)
        (directory / "tmp").mkdir(parents=True)
        console = directory / "console.log"
        script = _write_script(directory, vm.custom_data, console)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(supervisor.__file__)), str(console), str(script)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=directory, start_new_session=True,
            env=environment,
        )  # fmt: skip
        return _Guest(directory, imds, process, stopped)

    def _directory(self, vm: VirtualMachine) -> Path:
        return self._machines / vm.name

    def _kept_console(self, vm: VirtualMachine) -> Path:
        return self._consoles / f"{vm.name}.log"

    async def stop(self, vm: VirtualMachine) -> None:
        """Cut the power: the supervisor kills whatever runs, then ends."""
        guest = self._guests.pop(vm.target.key, None)
        if guest is None:
            return
        await guest.turn_off()
        await guest.imds.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.move(guest.directory / "console.log", self._kept_console(vm))
        await asyncio.to_thread(shutil.rmtree, guest.directory, ignore_errors=True)

    def console(self, vm: VirtualMachine) -> bytes:
        """From where it runs; after its end from where that is kept."""
        guest = self._guests.get(vm.target.key)
        file = self._kept_console(vm) if guest is None else guest.directory / "console.log"
        return file.read_bytes() if file.exists() else b""

    async def close(self) -> None:
        """Turn every guest off, all at once."""
        vms = [r for r in self._cloud.store if r.target.key in self._guests]
        await asyncio.gather(*(self.stop(vm) for vm in vms if isinstance(vm, VirtualMachine)))
        shutil.rmtree(self._machines, ignore_errors=True)

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
            # Installing outside a virtual environment would alter this machine; Ubuntu refuses it too.
            "PIP_REQUIRE_VIRTUALENV": "1",
        }
        for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            environment[name] = str(self._bundle)
        environment |= options.machine_env
        return environment if outbound else _cut_off(environment)


def _cut_off(environment: dict[str, str]) -> dict[str, str]:
    """A private subnet with no way out: HTTPS leads nowhere, the metadata service answers."""
    kept = {k: v for k, v in environment.items() if not k.lower().endswith("_proxy")}
    return kept | {"https_proxy": _NOWHERE, "HTTPS_PROXY": _NOWHERE}


def _write_script(directory: Path, custom_data: str | None, console: Path) -> Path:
    """The custom data as a file to run. What cloud-init would not run, does not run here either."""
    content = decode_custom_data(custom_data) if custom_data else b"#!/bin/sh\n"
    console.touch()
    if not content.startswith(b"#!"):
        console.write_text("cloud-init: unhandled non-multipart (text/x-not-multipart) userdata\n")
        content = b"#!/bin/sh\n"
    script = directory / "part-001"
    script.touch(mode=0o700)
    script.write_bytes(content)
    return script


def _install_commands(directory: Path) -> None:
    """Lay out the stand-ins under the names of what they stand in for, and a plain Python."""
    for script, names in _NAMES.items():
        for name in names:
            target = directory / name
            target.unlink(missing_ok=True)
            shutil.copyfile(_COMMANDS / script, target)
            target.chmod(0o755)
    # The interpreter under any virtual environment that we run in; its own pip is left out.
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    for name in ("python3", "python", f"python3.{sys.version_info.minor}"):
        link = directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(base)
