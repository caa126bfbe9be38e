# Builds tracetui from this clone: nix-build packaging/nix. Needs a nixpkgs with Rust 1.95 or later.
{ pkgs ? import <nixpkgs> { } }:
pkgs.rustPlatform.buildRustPackage {
  pname = "tracetui";
  version = (builtins.fromTOML (builtins.readFile ../../Cargo.toml)).workspace.package.version;
  src = pkgs.lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  cargoBuildFlags = [ "-p" "tracetui" "-p" "tracetui-ship" ];
  # The tests need a kernel, and a terminal of their own.
  doCheck = false;
  nativeBuildInputs = [ pkgs.installShellFiles ];
  postInstall = ''
    $out/bin/tracetui man >tracetui.1
    $out/bin/tracetui-ship man >tracetui-ship.1
    installManPage tracetui.1 tracetui-ship.1
    for shell in bash fish zsh; do
      installShellCompletion --cmd tracetui --$shell <($out/bin/tracetui completions $shell)
    done
  '';
  meta = {
    description = "Live tracer of execs, exits, opens, TCP and BPF attachments";
    license = with pkgs.lib.licenses; [ mit asl20 ];
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "tracetui";
  };
}
