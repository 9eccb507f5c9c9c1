// Formulas change the height of a page when they are drawn: then go once more to where a link leads.
window.addEventListener("load", () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && window.MathJax?.startup) {
    MathJax.startup.promise.then(() => target.scrollIntoView({behavior: "instant"}));
  }
});
