(() => {
  // One clip at a time: comparing two needs the other to be silent.
  const players = [...document.querySelectorAll("audio")];
  for (const player of players) {
    player.addEventListener("play", () => {
      for (const other of players) if (other !== player) other.pause();
    });
    player.addEventListener("error", () => {
      const message = document.createElement("p");
      message.className = "warn";
      message.textContent = "This file cannot be played from here; was the page moved away from its run?";
      player.after(message);
    }, { once: true });
  }
})();
