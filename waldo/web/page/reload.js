// Loads the page again if one of its scripts or styles did not arrive: without its scripts it cannot stop the robot.
addEventListener("error", ({ target }) => {
  const isPart = target instanceof HTMLScriptElement || target instanceof HTMLLinkElement;
  if (isPart) setTimeout(() => location.reload(), 1000);
}, true);
