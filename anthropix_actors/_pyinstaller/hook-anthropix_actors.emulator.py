"""The emulator's recordings, and its modules, which it imports by their names."""

from PyInstaller.utils.hooks import (  # pyright: ignore[reportMissingModuleSource, reportMissingImports]
    collect_data_files,
    collect_submodules,
)

datas = collect_data_files("anthropix_actors.emulator")
hiddenimports = collect_submodules("anthropix_actors.emulator")
