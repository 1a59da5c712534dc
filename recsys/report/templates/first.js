// Before the page is drawn, so that it does not flash in the other colours.
try {
  const kept = localStorage.getItem("recsys-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch (error) { /* a browser that keeps nothing for files */ }
