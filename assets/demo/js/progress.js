// Shows on <html> how far an article was read; nothing is sent or kept.
addEventListener("scroll", () => {
  const room = document.documentElement.scrollHeight - innerHeight;
  document.documentElement.dataset.read = room > 0 ? String(Math.round((scrollY / room) * 100)) : "100";
}, { passive: true });
