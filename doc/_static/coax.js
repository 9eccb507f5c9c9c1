// On a narrow screen drawings keep their size: each gets a box of its own to scroll in.
window.addEventListener("DOMContentLoaded", () => {
  for (const drawing of document.querySelectorAll("article img[src$='.svg']")) {
    const whole = drawing.closest("a") ?? drawing;
    const box = document.createElement("div");
    box.className = "picture";
    whole.replaceWith(box);
    box.append(whole);
  }
});

// Formulas change the height of a page when they are drawn: then go once more to where a link leads.
window.addEventListener("load", () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && window.MathJax?.startup) {
    MathJax.startup.promise.then(() => target.scrollIntoView({behavior: "instant"}));
  }
});
