// Before the first paint: the theme that this browser was told to keep.
(() => {
  const kept = localStorage.getItem("innkeeper.theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  document.documentElement.classList.add("scripted");
})();
