// Plays a recording of a terminal: each piece of its text has the time at which it came. Without
// this script all of the text is there.
"use strict";

function playable(recording) {
  const screen = recording.querySelector("pre");
  const pieces = Array.from(screen.querySelectorAll("[data-at]"), (element) => ({
    element,
    at: Number(element.dataset.at),
  }));
  const end = pieces[pieces.length - 1].at;

  const button = document.createElement("button");
  button.type = "button";
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: end, step: 0.01, value: end });
  slider.setAttribute("aria-label", "Time in the recording, in seconds");
  const clock = document.createElement("span");
  const controls = document.createElement("div");
  controls.className = "recording__controls";
  controls.append(button, slider, clock);
  recording.prepend(controls);

  let now = end;
  let began = null; // when the time of the recording was 0, while it plays

  const show = (time) => {
    now = Math.min(time, end);
    let last = pieces[0].element;
    for (const { element, at } of pieces) {
      element.classList.toggle("recording__later", at > now);
      if (at <= now) last = element;
    }
    slider.value = now;
    clock.textContent = `${now.toFixed(1)} of ${end.toFixed(1)} s`;
    button.textContent = began !== null ? "Pause" : now < end ? "Play" : "Play again";
    const bottom = last.offsetTop + last.offsetHeight - screen.offsetTop;
    if (now < end || began !== null) screen.scrollTop = bottom - screen.clientHeight;
  };

  const step = (time) => {
    if (began === null) return;
    if (time - began >= end * 1000) began = null;
    show(began === null ? end : (time - began) / 1000);
    requestAnimationFrame(step);
  };

  button.addEventListener("click", () => {
    if (began !== null) {
      began = null;
      show(now);
    } else {
      began = performance.now() - (now < end ? now * 1000 : 0);
      requestAnimationFrame(step);
    }
  });
  slider.addEventListener("input", () => {
    began = null;
    show(Number(slider.value));
  });
  show(end);
  button.textContent = "Play";
}

document.querySelectorAll(".recording").forEach(playable);
