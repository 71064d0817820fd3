// Before anything is painted: light or dark, as the reader chose last; without a choice as the system is.
const chosen = localStorage.getItem("scheme");
if (chosen) document.documentElement.dataset.scheme = chosen;
