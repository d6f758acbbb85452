// Loaded before the first paint, and no module for that reason: a theme that was chosen is there at once.
const theme = localStorage.getItem("highwater.theme");
if (theme) document.documentElement.dataset.theme = theme;
